#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/file.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

struct SpoolOptions {
  std::filesystem::path directory;
  int64_t segment_bytes = 4 << 20;
  // Of events that wait, on disk and in memory. From half of it on only every tenth step metric is
  // taken, from all of it on none; all other events always are.
  int64_t limit_bytes = int64_t{1} << 30;
};

// Events on their way to the coordinator: in order, without gaps, on disk until acknowledged.
// Append() never touches the disk; Sync() writes what was appended, and only then it can be read.
// While the disk refuses writes events wait in memory and can be read from there. Thread-safe.
class Spool {
 public:
  // Takes up what an earlier Spool left there; a torn or corrupt tail is cut off, with a warning.
  // After a crash of the machine some of what was acknowledged may come back.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(const SpoolOptions& options);
  // Removes its files if everything was acknowledged; does not sync.
  ~Spool();

  // Gives the event the next sequence number, which it returns; 0 when the event was thinned out.
  int64_t Append(v1::WorkerEvent event);

  // When it returns OK, everything appended before the call is on disk.
  absl::Status Sync();

  // The events from `after` + 1 on: at most `max_events`, and no further one once `max_bytes` are
  // reached. Those that the disk has lost meanwhile come without content, so that no sequence is
  // missing.
  std::vector<v1::WorkerEvent> Read(int64_t after, int max_events, int64_t max_bytes);

  // All up to `sequence` may be forgotten. Lower than an earlier one: no effect.
  void Acknowledge(int64_t sequence);

  // Waits until there is an event after `after`, at most `timeout`.
  bool WaitForEvent(int64_t after, absl::Duration timeout);
  // Makes the present WaitForEvent() return.
  void Wake();

  int64_t acknowledged() const;
  int64_t last_sequence() const;
  // Of its files, and of what is not in them yet.
  int64_t bytes() const { return bytes_; }
  // Events that were thinned out.
  int64_t thinned() const;

 private:
  struct Pending {
    int64_t sequence;
    std::string record;
  };
  struct Segment {
    int64_t first;
    int64_t last;
    int64_t bytes;
    std::filesystem::path path;
  };
  // Where the next Read() probably begins.
  struct Cursor {
    int64_t sequence = 0;
    int64_t segment_first = 0;
    int64_t offset = 0;
  };

  explicit Spool(const SpoolOptions& options) : options_(options) {}
  absl::Status WritePending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_mutex_);
  absl::Status Recover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_mutex_);
  absl::Status OpenMark() ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_mutex_);
  absl::Status OpenSegment(int64_t first) ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_mutex_);
  absl::Status WriteToSegment(const std::string& records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_mutex_);
  bool IsThinnedOut(const v1::WorkerEvent& event) const;

  const SpoolOptions options_;

  // Lock order: disk_mutex_, then mutex_.
  absl::Mutex disk_mutex_;
  std::deque<Segment> segments_ ABSL_GUARDED_BY(disk_mutex_);  // the last one is written to
  FileDescriptor active_ ABSL_GUARDED_BY(disk_mutex_);         // open iff segments_ is not empty
  FileDescriptor mark_ ABSL_GUARDED_BY(disk_mutex_);           // holds what was acknowledged
  Cursor cursor_ ABSL_GUARDED_BY(disk_mutex_);
  bool refused_ ABSL_GUARDED_BY(disk_mutex_) = false;  // by the disk, at the last Sync()

  mutable absl::Mutex mutex_;
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);  // not on disk yet
  int64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t acknowledged_ ABSL_GUARDED_BY(mutex_) = 0;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;

  std::atomic<int64_t> bytes_ = 0;  // on disk and pending
  std::atomic<int64_t> thinned_ = 0;
};

}  // namespace wavefield
