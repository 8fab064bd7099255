#pragma once

#include <string>
#include <vector>

#include "coordinator/jobs/lifecycle.h"
#include "coordinator/store/records.pb.h"
#include "core/base/clock.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// A clock that stands still until it is moved.
class ManualClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'700'000'000) + elapsed_; }
  absl::Duration Monotonic() const override { return elapsed_; }
  void Advance(absl::Duration duration) { elapsed_ += duration; }

 private:
  absl::Duration elapsed_;
};

inline JobRecord QueuedJob(const std::string& id, int world_size = 2, int max_restarts = 3) {
  JobRecord record;
  v1::Job& job = *record.mutable_job();
  job.set_name("jobs/" + id);
  job.set_state(v1::JOB_STATE_QUEUED);
  job.set_epoch(1);
  job.mutable_spec()->mutable_resources()->set_world_size(world_size);
  job.mutable_spec()->mutable_resources()->set_device("cpu");
  job.mutable_spec()->mutable_restart()->set_max_restarts(max_restarts);
  job.mutable_spec()->mutable_checkpoint()->set_keep_last(2);
  record.set_checkpoint_directory("checkpoints/" + id);
  return record;
}

// All ranks on worker "a", incarnation "a1".
inline JobRecord StartedJob(const std::string& id, int world_size = 2, int max_restarts = 3) {
  JobRecord record = QueuedJob(id, world_size, max_restarts);
  std::vector<Placement> placements;
  for (int slot = 0; slot < world_size; ++slot) placements.push_back({"a", "a1", slot});
  StartAttempt(record, placements, {}, absl::FromUnixSeconds(1'700'000'000));
  return record;
}

inline v1::TaskExited ExitCode(int code) {
  v1::TaskExited exited;
  exited.set_code(code);
  return exited;
}

inline v1::TaskExited ExitSignal(int signal) {
  v1::TaskExited exited;
  exited.set_signal(signal);
  return exited;
}

inline v1::TrainingStarted Started(int64_t first_step = 1) {
  v1::TrainingStarted started;
  started.set_first_step(first_step);
  started.set_exact(true);
  return started;
}

inline v1::TrainingFinished Finished(bool stopped) {
  v1::TrainingFinished finished;
  finished.set_stopped(stopped);
  return finished;
}

inline v1::StepMetrics StepAt(int64_t step, int attempt = 1) {
  v1::StepMetrics metrics;
  metrics.set_step(step);
  metrics.set_attempt(attempt);
  metrics.set_loss(1.0 / static_cast<double>(step));
  return metrics;
}

}  // namespace wavefield::coordinator
