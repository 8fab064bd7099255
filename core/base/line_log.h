#pragma once

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

namespace wavefield {

struct NumberedLine {
  int64_t number = 0;
  absl::Time time;
  std::string text;  // without '\n'
};

// Where somebody reads in a LineLog.
struct LinePosition {
  int64_t next = 0;  // number of the first line wanted
  // Where that line is, as far as Read() knows.
  int64_t segment = -1;
  int64_t offset = 0;
};

struct LineLogOptions {
  int64_t segment_bytes = 1 << 20;  // of one file, overstepped by at most one line
};

// Numbered lines in a folder of files that grow at one end and are dropped at the other. What
// Append() took survives the end of the process, not that of the machine: nothing is synced.
//
// On disk: text, each line "NUMBER NANOSECONDS TEXT\n", the time since the Unix epoch. Numbers
// grow; where they jump, lines were lost. A file is named by a number that is at most that of its
// first line and above those of the file before: 20 digits and ".lines". So an empty file tells the
// number of the line to come.
//
// Thread-safe.
class LineLog {
 public:
  static constexpr int64_t kLeastReadBytes = 16 << 10;

  // Makes the folder if need be. A torn or damaged end of the last file is cut off.
  static absl::StatusOr<std::unique_ptr<LineLog>> Open(const std::filesystem::path& directory,
                                                       const LineLogOptions& options);

  // REQUIRES: numbers grow and none is below next(); no '\n' in texts. With an error of the disk,
  // those below next() were taken.
  absl::Status Append(const std::vector<NumberedLine>& lines);

  // Replaces `lines` by those from `position.next` on, of at most about `max_bytes`
  // (kLeastReadBytes at least), and moves the position behind them. None: there are none now. The
  // first may have a greater number than was wanted: those before it are gone.
  absl::Status Read(LinePosition& position, int64_t max_bytes,
                    std::vector<NumberedLine>& lines) const;

  // Above the numbers of all lines there were.
  int64_t next() const;
  // Of the files.
  int64_t bytes() const;
  // When the oldest file with lines was last written; InfiniteFuture() when there is none.
  absl::Time oldest() const;

  // Removes the oldest file with lines. False: there is none, or the disk refuses.
  bool DropOldest();
  // Removes the files whose lines are all below `number`.
  void DropBefore(int64_t number);

 private:
  struct Segment {
    int64_t first;  // of its name
    int64_t bytes;
    absl::Time written;
  };

  LineLog(std::filesystem::path directory, const LineLogOptions& options)
      : directory_(std::move(directory)), options_(options) {}
  std::filesystem::path PathOf(int64_t first) const;
  absl::Status Recover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddSegment(int64_t first) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteToLast(const std::string& records) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool DropFront() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::filesystem::path directory_;
  const LineLogOptions options_;
  mutable absl::Mutex mutex_;
  std::deque<Segment> segments_ ABSL_GUARDED_BY(mutex_);  // the last one is written to
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace wavefield
