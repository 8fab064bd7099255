#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "coordinator/store/store.h"
#include "core/base/clock.h"

namespace wavefield::coordinator {

// Who changed what: appends entries to the store, those that wait in one write. Thread-safe.
class AuditLog {
 public:
  AuditLog(Store& store, const Clock& clock);
  // Appends what waits.
  ~AuditLog();

  // Gives the entry its time and its number. Calls `done` when it is durable, on a thread of the
  // log, or with the error that keeps it from being so; RESOURCE_EXHAUSTED at once when too many
  // wait.
  void Append(v1::AuditEntry entry, std::function<void(const absl::Status&)> done);

 private:
  struct Waiting {
    v1::AuditEntry entry;
    std::function<void(const absl::Status&)> done;
  };

  void Loop();
  absl::Status Write(std::deque<Waiting>& group);

  Store& store_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Waiting> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace wavefield::coordinator
