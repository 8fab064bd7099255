#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/metrics/coordinator_metrics.h"
#include "coordinator/metrics/loss_statistics.h"
#include "coordinator/metrics/series_table.h"
#include "coordinator/store/records.pb.h"
#include "core/base/clock.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {

// Something that a training reported and the store has taken, with the id of its job.
using TrainingEvent = std::pair<std::string, wavefield::v1::TrainerEvent>;

// Keeps the series of jobs up to date from their first attempt on, and retires those of jobs that
// have ended. Thread-safe.
class JobSeries {
 public:
  JobSeries(SeriesTable& table, CoordinatorMetrics& metrics, const Clock& clock,
            absl::Duration retention)
      : table_(table), metrics_(metrics), clock_(clock), retention_(retention) {}

  // What a job's record says, in the order of commits.
  void JobsCommitted(const std::vector<JobRecord>& records);
  // What is counted for each event, after the commit.
  void EventsCommitted(const std::vector<TrainingEvent>& events);
  // What is known of a live job from before a restart of the coordinator, beside its record.
  void ShowCheckpoint(const std::string& job, const wavefield::v1::Checkpoint& checkpoint);
  void ShowFieldHealth(const std::string& job, const wavefield::v1::FieldHealth& health);
  // Removes the series of a job that was deleted.
  void Forget(const std::string& job);
  // Removes the series of jobs that ended longer than the retention ago.
  void Retire();

 private:
  struct Job {
    wavefield::v1::JobState state = wavefield::v1::JOB_STATE_UNSPECIFIED;
    int attempt = 0;
    std::optional<absl::Time> wants_to_run_since;  // while it is queued; if that is known
    LossStatistics losses;
    std::unique_ptr<SeriesGroup> series;  // from the first attempt on
    absl::Duration ended_at = absl::InfiniteDuration();
  };

  void TakeTransition(Job& job, const JobRecord& record, bool known);
  void TakeEvent(Job& job, const wavefield::v1::TrainerEvent& event);
  // Null: it has no series (any more). REQUIRES mutex_.
  Job* Find(const std::string& id);

  SeriesTable& table_;
  CoordinatorMetrics& metrics_;
  const Clock& clock_;
  const absl::Duration retention_;
  std::mutex mutex_;
  std::map<std::string, Job> jobs_;
};

}  // namespace wavefield::coordinator
