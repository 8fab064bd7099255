#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/line_log.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

struct LogOutboxOptions {
  std::filesystem::path directory;
  // Lines that wait; beyond it the oldest are dropped, a file at a time.
  int64_t task_bytes = 16 << 20;
  int64_t total_bytes = 256 << 20;
  int64_t segment_bytes = 1 << 20;
};

// Lines of ranks on their way to the coordinator: on disk until acknowledged, one folder for each
// task, named by its id. What cannot be written, or is too much, is lost, and the numbers of the
// lines tell so. Thread-safe.
class LogOutbox {
 public:
  using Chunk = v1::ReportLogsRequest::Chunk;

  // Takes up what an earlier process left: its tasks have ended with it.
  static absl::StatusOr<std::unique_ptr<LogOutbox>> Open(const LogOutboxOptions& options);

  // What is there of an earlier task of this id is dropped. Ids come again only where the
  // coordinator has forgotten the deletion of a job.
  void Begin(const std::string& task_id);
  // `texts`: valid UTF-8 of one line each. REQUIRES: Begin(), no End(); one thread at a time.
  void Append(const std::string& task_id, std::vector<std::string> texts, absl::Time time);
  void End(const std::string& task_id);

  // What to send next, of all tasks in turn: at most about `max_bytes` and `max_chunks`. The same
  // again until it is acknowledged.
  std::vector<Chunk> NextBatch(int64_t max_bytes, size_t max_chunks);
  // The coordinator has taken `chunk`, and wants the line `next_line`.
  void Acknowledge(const Chunk& chunk, int64_t next_line);

  // There is something to send.
  bool HasNews() const;
  // Waits for that; false after `timeout`.
  bool WaitForNews(absl::Duration timeout);
  // Waits until there is something to send of a task that has ended, at most `timeout`.
  void WaitForEnd(absl::Duration timeout);
  // From now on nobody waits.
  void StopWaiting();

 private:
  struct Entry {
    std::shared_ptr<LineLog> log;
    int64_t next = 0;          // number of the next line
    int64_t stored = 0;        // lines below it are in `log`, or lost
    int64_t acknowledged = 0;  // by the coordinator, all below it
    bool ended = false;
  };

  explicit LogOutbox(const LogOutboxOptions& options) : options_(options) {}
  absl::StatusOr<Entry> OpenEntry(const std::string& task_id) const;
  void TakeUp(const std::filesystem::path& folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Trim(LineLog& log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveFolder(const std::string& task_id) const;
  bool HasNewsLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool HasEndedLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const LogOutboxOptions options_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);  // by task id
  std::string served_last_ ABSL_GUARDED_BY(mutex_);
  bool complained_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wavefield
