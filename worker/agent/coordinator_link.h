#pragma once

#include <grpcpp/client_context.h>

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/rpc/channel.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {

// The worker's way to the coordinator: calls that end when the worker stops, and whether it is
// registered. Thread-safe.
class CoordinatorLink {
 public:
  explicit CoordinatorLink(Connection connection);

  const std::string& address() const { return connection_.address(); }
  v1::WorkerService::Stub& stub() { return *stub_; }

  // Makes one call with credentials and this time; InfiniteDuration(): as long as it takes. Blocks.
  // CANCELLED once stopped.
  absl::Status Call(absl::Duration timeout,
                    const std::function<grpc::Status(grpc::ClientContext&)>& call);
  // The same with a context of the caller's, which may be cancelled from elsewhere.
  absl::Status Call(grpc::ClientContext& context, absl::Duration timeout,
                    const std::function<grpc::Status(grpc::ClientContext&)>& call);

  // Says that the coordinator was heard of; every call that succeeds does.
  void Heard();
  absl::Duration SinceHeard() const;

  void SetRegistered(bool registered);
  // Waits until registered or stopped: false when stopped.
  bool WaitRegistered();
  bool registered() const;

  // Sleeps, but not past a Stop(); false when stopped.
  bool Sleep(absl::Duration duration);
  // The pause before another try: sleeps like Sleep(), but not past the return of the connection.
  // gRPC works on a connection in blocking calls alone, and else looks after it every five seconds.
  bool Pause(absl::Duration duration);
  // Sleeps, but not past a Stop() or the loss of the registration.
  void SleepWhileRegistered(absl::Duration duration);

  // Cancels all calls, now and to come.
  void Stop();

 private:
  const Connection connection_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;

  mutable absl::Mutex mutex_;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
  absl::Duration heard_ ABSL_GUARDED_BY(mutex_);
  bool registered_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// Times between tries: doubling from `first` to `longest`, each shortened by up to a fifth at
// random so that workers do not come all at once.
class Backoff {
 public:
  Backoff(absl::Duration first, absl::Duration longest);
  absl::Duration Next();
  void Reset() { tries_ = 0; }

 private:
  absl::Duration first_;
  absl::Duration longest_;
  uint64_t seed_;
  int tries_ = 0;
};

// Logs a repeated outcome once: a problem when it changes, and that it is over.
class OutcomeLog {
 public:
  explicit OutcomeLog(std::string what) : what_(std::move(what)) {}
  void Note(const absl::Status& status);

 private:
  std::string what_;
  absl::StatusCode last_ = absl::StatusCode::kOk;
  std::string last_message_;
};

}  // namespace wavefield
