#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// Shows what happens to many jobs on stdout: a line for each change of a job's state, and of its
// newest step at most every two seconds. Not thread-safe.
class JobsProgress {
 public:
  explicit JobsProgress(bool colors) : colors_(colors) {}

  void Show(const v1::WatchJobsResponse& update);
  void ShowLostConnection(const std::string& reason);

 private:
  struct Shown {
    std::string state_line;
    int64_t step = 0;
    absl::Duration at;
  };

  void ShowJob(const v1::Job& job);

  bool colors_;
  std::map<std::string, Shown> shown_;  // by name
};

}  // namespace wavefield
