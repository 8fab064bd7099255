#pragma once

#include <string>

#include "absl/time/time.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// How far a job is, 0 … 1 (negative: unknown), and how long it will take; by steps or by time,
// whichever ends it sooner.
struct JobCompletion {
  double fraction = -1;
  double remaining_seconds = -1;  // negative: unknown
};
JobCompletion EstimateCompletion(const v1::Job& job, const v1::StepMetrics& step,
                                 double step_seconds);

// Shows the updates of one watched job on stdout: a line of its newest step at most every two
// seconds; state changes, evaluations and warnings on lines of their own. Not thread-safe.
class JobProgress {
 public:
  void Show(const v1::WatchJobResponse& update);
  void ShowLostConnection(const std::string& reason);
  // Says how the job ended.
  void Finish(const v1::Job& job);

 private:
  void ShowJob(const v1::Job& job);
  void ShowStep(const v1::StepMetrics& step, bool newest);
  void Print(const std::string& line);
  void PrintStep();

  v1::Job job_;
  v1::StepMetrics step_;
  double tokens_per_second_ = 0;  // smoothed, as is step_seconds_
  double step_seconds_ = 0;
  bool step_shown_ = true;
  std::string state_line_;
  std::string last_warning_;
  absl::Duration last_line_ = -absl::InfiniteDuration();
};

}  // namespace wavefield
