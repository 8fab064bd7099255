#include "coordinator/server/rpc_metrics.h"

#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/status/status.h"
#include "core/base/clock.h"

namespace wavefield::coordinator {
namespace {

using grpc::experimental::InterceptionHookPoints;

class RpcMetrics final : public grpc::experimental::Interceptor {
 public:
  RpcMetrics(CoordinatorMetrics& metrics, std::string method)
      : metrics_(metrics), method_(std::move(method)), start_(Clock::Real().Monotonic()) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const auto code = static_cast<absl::StatusCode>(methods->GetSendStatus().error_code());
      metrics_.ObserveRpc(method_, absl::StatusCodeToString(code),
                          Clock::Real().Monotonic() - start_);
    }
    methods->Proceed();
  }

 private:
  CoordinatorMetrics& metrics_;
  const std::string method_;
  const absl::Duration start_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(CoordinatorMetrics& metrics) : metrics_(metrics) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    // "/package.Service/Method". What has no such name is no method of this server.
    const std::string method = info->method() == nullptr ? "" : info->method();
    return new RpcMetrics(metrics_, method.empty() ? "unknown" : method.substr(1));
  }

 private:
  CoordinatorMetrics& metrics_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRpcMetricsInterceptor(
    CoordinatorMetrics& metrics) {
  return std::make_unique<Factory>(metrics);
}

}  // namespace wavefield::coordinator
