#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "coordinator/metrics/coordinator_metrics.h"

namespace wavefield::coordinator {

// An interceptor that observes every call's duration and code.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRpcMetricsInterceptor(
    CoordinatorMetrics& metrics);

}  // namespace wavefield::coordinator
