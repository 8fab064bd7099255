#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "coordinator/audit/audit_log.h"
#include "coordinator/server/access.h"

namespace wavefield::coordinator {

// An interceptor by which every call of an audited method has its entry before the caller gets to
// know how it ended. A call whose entry could not be written ends with UNAVAILABLE, whatever it
// did.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeAuditInterceptor(
    AuditLog& log, const Access& access);

}  // namespace wavefield::coordinator
