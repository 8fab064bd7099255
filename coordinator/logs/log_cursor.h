#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/logs/log_store.h"

namespace wavefield::coordinator {

// How far somebody has read in the logs of a job: the number of the next line of each rank. As
// text it means the same after a restart of the coordinator.
class LogCursor {
 public:
  // The beginning for "". INVALID_ARGUMENT unless it was given out for this job.
  static absl::StatusOr<LogCursor> Parse(const std::string& job, const std::string& text);
  std::string ToString(const std::string& job) const;

  // All that was printed in this attempt counts as read.
  bool IsPast(const TaskLog& task) const { return task.attempt < first_attempt_; }
  int64_t Next(const TaskLog& task) const;
  void Advance(const TaskLog& task, int64_t next) { next_[{task.attempt, task.rank}] = next; }

  // Forgets the ranks of attempts of which all was read, and of those that are long over, so that a
  // cursor stays small. `tasks`: in order of attempts.
  void Shorten(const std::vector<TaskLog>& tasks);

 private:
  int32_t first_attempt_ = 0;
  std::map<std::pair<int32_t, int32_t>, int64_t> next_;  // by attempt and rank
};

}  // namespace wavefield::coordinator
