#include "coordinator/rpc/calls.h"

namespace wavefield::coordinator {

absl::Status Overloaded() {
  return StatusWithReason(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
                          "the coordinator has too many calls waiting already; try again later");
}

grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context, Executor& executor,
                                   std::function<absl::Status()> body) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken =
      executor.TryRun([reactor, body = std::move(body)] { reactor->Finish(ToGrpcStatus(body())); });
  if (!taken) reactor->Finish(ToGrpcStatus(Overloaded()));
  return reactor;
}

}  // namespace wavefield::coordinator
