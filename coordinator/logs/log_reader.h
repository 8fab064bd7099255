#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/logs/log_cursor.h"
#include "coordinator/logs/log_store.h"

namespace wavefield::coordinator {

struct LogSelection {
  std::optional<int32_t> rank;              // nothing: all
  int32_t attempt = 0;                      // 0: all
  absl::Time since = absl::InfinitePast();  // lines of this time and later
};

// Reads the logs of a job from a cursor on: attempt by attempt, the ranks of each merged by time,
// then rank. Holds some KiB of each rank, however much there is. Not thread-safe.
class LogReader {
 public:
  LogReader(LogStore& store, std::string job, const LogSelection& selection, LogCursor cursor)
      : store_(store), job_(std::move(job)), selection_(selection), cursor_(std::move(cursor)) {}

  // `skipped`: lines of this rank that are missing before this one.
  using Visit = std::function<bool(const TaskLog& task, const NumberedLine& line, int64_t skipped)>;
  // Visits what there is now behind the cursor. The cursor moves behind a line after its visit; a
  // visit that returns false leaves it there, and ends the call.
  absl::Status ReadOn(const Visit& visit);

  // Moves the cursor so far that only `count` lines of what there is now are behind it.
  absl::Status KeepLast(int64_t count);

  const LogCursor& cursor() const { return cursor_; }

 private:
  absl::Status ReadAttempt(const std::vector<TaskLog>& tasks, const Visit& visit, bool& go_on);

  LogStore& store_;
  const std::string job_;
  const LogSelection selection_;
  LogCursor cursor_;
  std::map<std::pair<int32_t, int32_t>, LinePosition> positions_;  // by attempt and rank
};

}  // namespace wavefield::coordinator
