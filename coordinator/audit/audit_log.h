#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

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

  // The same for a call that the role forbids, of which anybody can make as many as he likes: one a
  // second is kept of each principal and method, and they have an eighth of the room for those that
  // wait. Calls `done` at once for one that is not kept.
  void AppendRefusal(v1::AuditEntry entry, std::function<void()> done);

 private:
  struct Waiting {
    v1::AuditEntry entry;
    std::function<void(const absl::Status&)> done;
  };

  // Under mutex_: whether a refusal is kept, as from now.
  bool TakesRefusal(const v1::AuditEntry& entry);
  void Loop();
  absl::Status Write(std::deque<Waiting>& group);

  Store& store_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Waiting> queue_;
  size_t refusals_waiting_ = 0;
  // Principal and method → when a refusal was kept last, monotonic.
  std::map<std::pair<std::string, std::string>, absl::Duration> refusals_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace wavefield::coordinator
