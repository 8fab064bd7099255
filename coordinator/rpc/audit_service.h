#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/audit_service.grpc.pb.h"

namespace wavefield::coordinator {

class AuditService final : public v1::AuditService::CallbackService {
 public:
  explicit AuditService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListAuditEntries(grpc::CallbackServerContext* call,
                                             const v1::ListAuditEntriesRequest* request,
                                             v1::ListAuditEntriesResponse* response) override;

 private:
  absl::Status List(const v1::ListAuditEntriesRequest& request,
                    v1::ListAuditEntriesResponse& response);

  ServiceContext& context_;
};

}  // namespace wavefield::coordinator
