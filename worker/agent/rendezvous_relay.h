#pragma once

#include <grpcpp/client_context.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "wavefield/v1/worker_service.pb.h"
#include "worker/agent/channel.h"
#include "worker/agent/coordinator_link.h"

namespace wavefield {

// Carries rendezvous requests of ranks to the coordinator, each on a thread of its own so that none
// waits for another. UNAVAILABLE is tried again until the request's time is up. Thread-safe.
class RendezvousRelay {
 public:
  // Called once for every request that was not cancelled, from any thread, also from within the
  // request.
  using Reply = std::function<void(const std::string& task_id, RendezvousReply reply)>;

  RendezvousRelay(CoordinatorLink& link, Reply reply);
  // REQUIRES: link.Stop() was called. Waits for the requests under way.
  ~RendezvousRelay();

  void Set(const v1::Assignment& assignment, const RendezvousSet& request);
  void Wait(const v1::Assignment& assignment, const RendezvousWait& request);

  // Gives up the requests of a task: nobody listens any more.
  void Cancel(const std::string& task_id);

 private:
  struct Request {
    std::string task_id;
    int64_t id = 0;
    std::string key;
    absl::Duration timeout;
    std::shared_ptr<grpc::ClientContext> context;
    bool cancelled = false;
  };
  using Attempt =
      std::function<absl::Status(grpc::ClientContext&, absl::Duration left, std::string& value)>;

  void Begin(const v1::Assignment& assignment, Request request, Attempt attempt);
  void Run(int64_t number, const Request& request, const Attempt& attempt);
  // A context for the next attempt; null when cancelled.
  std::shared_ptr<grpc::ClientContext> NextContext(int64_t number);

  CoordinatorLink& link_;
  const Reply reply_;

  absl::Mutex mutex_;
  int64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Request> requests_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wavefield
