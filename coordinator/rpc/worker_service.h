#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield::coordinator {

class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* call,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* RegisterWorker(grpc::CallbackServerContext* call,
                                           const v1::RegisterWorkerRequest* request,
                                           v1::RegisterWorkerResponse* response) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* call,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatResponse* response) override;
  grpc::ServerWriteReactor<v1::AssignmentList>* WatchAssignments(
      grpc::CallbackServerContext* call, const v1::WatchAssignmentsRequest* request) override;
  grpc::ServerUnaryReactor* ReportEvents(grpc::CallbackServerContext* call,
                                         const v1::ReportEventsRequest* request,
                                         v1::ReportEventsResponse* response) override;
  grpc::ServerUnaryReactor* SetRendezvous(grpc::CallbackServerContext* call,
                                          const v1::SetRendezvousRequest* request,
                                          v1::SetRendezvousResponse* response) override;
  grpc::ServerUnaryReactor* WaitRendezvous(grpc::CallbackServerContext* call,
                                           const v1::WaitRendezvousRequest* request,
                                           v1::WaitRendezvousResponse* response) override;

 private:
  absl::Status Register(const v1::RegisterWorkerRequest& request,
                        v1::RegisterWorkerResponse& response);
  absl::Status Report(const v1::ReportEventsRequest& request, v1::ReportEventsResponse& response);
  absl::Status SetKey(const v1::SetRendezvousRequest& request);
  absl::Status WaitForKey(const v1::WaitRendezvousRequest& request,
                          const grpc::CallbackServerContext& call, std::string& value);
  // FAILED_PRECONDITION unless this epoch of the job is under way.
  absl::Status CheckEpoch(const std::string& job, int64_t epoch) const;

  ServiceContext& context_;
};

}  // namespace wavefield::coordinator
