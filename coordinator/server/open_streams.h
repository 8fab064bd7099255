#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <mutex>
#include <set>

#include "coordinator/server/access.h"

namespace wavefield::coordinator {

// The streams that are open. Thread-safe. Its lock is held while streams are cancelled: that keeps
// their calls from ending under it.
class OpenStreams {
 public:
  struct Stream {
    grpc::ServerContextBase* call = nullptr;
    std::string path;
    std::string authorization;
  };

  // Ends those that would not be let in any more: their token was taken away, has expired, or has
  // another role now.
  void EndRefused(const Access& access);

  // REQUIRES: Remove() before the call is over.
  void Add(const Stream* stream);
  void Remove(const Stream* stream);

 private:
  std::mutex mutex_;
  std::set<const Stream*> streams_;
};

// An interceptor that keeps `streams` current.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeStreamInterceptor(
    OpenStreams& streams);

}  // namespace wavefield::coordinator
