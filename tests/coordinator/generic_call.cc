#include "tests/coordinator/generic_call.h"

#include <grpcpp/generic/generic_stub.h>

namespace wavefield::coordinator {

grpc::Status CallByPath(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                        const std::string& authorization, int seconds) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  grpc::GenericStub stub(channel);
  const grpc::Slice empty;
  const grpc::ByteBuffer request(&empty, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

}  // namespace wavefield::coordinator
