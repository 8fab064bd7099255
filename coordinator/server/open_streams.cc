#include "coordinator/server/open_streams.h"

#include <grpcpp/grpcpp.h>

#include "coordinator/server/authorization.h"

namespace wavefield::coordinator {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

class StreamInterceptor final : public grpc::experimental::Interceptor {
 public:
  StreamInterceptor(OpenStreams& streams, ServerRpcInfo& info)
      : streams_(streams), stream_{info.server_context(), info.method(), ""} {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      stream_.authorization = AuthorizationOf(*stream_.call);
      streams_.Add(&stream_);
    }
    // Every call sends a status before it is over. Not in the destructor: that may run inside the
    // TryCancel() of another stream.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      streams_.Remove(&stream_);
    }
    methods->Proceed();
  }

 private:
  OpenStreams& streams_;
  OpenStreams::Stream stream_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(OpenStreams& streams) : streams_(streams) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    if (info->type() == ServerRpcInfo::Type::UNARY || info->method() == nullptr) return nullptr;
    return new StreamInterceptor(streams_, *info);
  }

 private:
  OpenStreams& streams_;
};

}  // namespace

void OpenStreams::EndRefused(const Access& access) {
  std::lock_guard lock(mutex_);
  for (const Stream* stream : streams_) {
    Caller caller;
    if (!access.Check(stream->path, stream->authorization, caller).ok()) stream->call->TryCancel();
  }
}

void OpenStreams::Add(const Stream* stream) {
  std::lock_guard lock(mutex_);
  streams_.insert(stream);
}

void OpenStreams::Remove(const Stream* stream) {
  std::lock_guard lock(mutex_);
  streams_.erase(stream);
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeStreamInterceptor(
    OpenStreams& streams) {
  return std::make_unique<Factory>(streams);
}

}  // namespace wavefield::coordinator
