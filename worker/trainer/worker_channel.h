#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/file.h"
#include "core/comm/communicator.h"

namespace wavefield {

// The trainer's end of its channel to the worker (worker/channel.md): newline-delimited JSON on one
// socket. Carries events out, stop and abort requests in, and is the ranks' rendezvous.
// Thread-safe.
class WorkerChannel final : public RendezvousStore {
 public:
  explicit WorkerChannel(FileDescriptor socket);
  ~WorkerChannel() override;

  // `event`: a TrainerEvent in JSON, to which the uptime is added. Blocks while the worker is slow;
  // lost if it is gone.
  void SendEvent(nlohmann::json event);

  absl::Status Set(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Duration timeout) override;

  // The worker asked for an orderly end.
  bool stop_requested() const { return stop_requested_; }

  // Called at most once, from another thread, when the worker says that the attempt is over, or is
  // gone. May be called from within this call. A later callback replaces an earlier one.
  void OnAbort(std::function<void(std::string reason)> callback);
  // Waits for that to happen.
  bool WaitForAbort(absl::Duration timeout);

 private:
  void Send(const nlohmann::json& message);
  void SendLocked(const nlohmann::json& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  absl::StatusOr<std::string> Call(const std::string& kind, nlohmann::json request,
                                   absl::Duration timeout);
  void ReadLoop();
  void Handle(const nlohmann::json& message);
  void Abort(const std::string& reason);

  FileDescriptor socket_;
  absl::Mutex write_mutex_;
  std::atomic<bool> stop_requested_ = false;

  absl::Mutex mutex_;
  int64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<int64_t, nlohmann::json> replies_ ABSL_GUARDED_BY(mutex_);
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
  std::string abort_reason_ ABSL_GUARDED_BY(mutex_);
  std::function<void(std::string)> on_abort_ ABSL_GUARDED_BY(mutex_);

  std::thread reader_;
};

}  // namespace wavefield
