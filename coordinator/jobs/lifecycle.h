#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// The life of a job, as transitions of its record:
//
//   QUEUED → STARTING → RUNNING → SUCCEEDED
//     ↑          └─────────┴→ attempt failed → QUEUED (restarts left) or FAILED
//   an attempt, on request → STOPPING → CANCELLED, PAUSED, or QUEUED where it was to make room
//   QUEUED, on request → PAUSED, CANCELLED; PAUSED and those that ended → QUEUED
//
// An attempt has an epoch; what ends it raises the epoch, which takes its assignments off all
// workers' lists at once and fences off what its ranks still say. Tasks of older epochs stay in the
// record until they ended: they hold their slots. The transitions also keep the account of the time
// that slots were held (coordinator/goodput/ledger.h). Pure functions of their arguments.

// Where one rank goes; ranks in order.
struct Placement {
  std::string worker;  // id
  std::string incarnation;
  int32_t slot = 0;
};

std::string TaskId(const std::string& job, int64_t epoch, int rank);

// REQUIRES: QUEUED, no task that holds a slot, as many placements as ranks.
void StartAttempt(JobRecord& record, const std::vector<Placement>& placements,
                  const std::vector<std::string>& resume_candidates, absl::Time now);

// The task by its id if it belongs to the attempt that is under way and has not ended; else null.
TaskRecord* FindLiveTask(JobRecord& record, const std::string& task_id);

void OnTaskStarted(JobRecord& record, const std::string& task_id, int pid);
// What the program said of its error; counts for a task of any epoch that has not ended.
void OnTrainerFailure(JobRecord& record, const std::string& task_id,
                      const wavefield::v1::TrainerFailure& failure);
// The rank of `task_id` began to train. REQUIRES a live task, as the next ones do.
void OnTrainingStarted(JobRecord& record, const wavefield::v1::TrainingStarted& started,
                       absl::Time now);
void OnTrainingFinished(JobRecord& record, const wavefield::v1::TrainingFinished& finished);

// A task of any epoch is gone; a live one that ended badly fails the attempt, the last good end of
// a finished job ends it.
void OnTaskExited(JobRecord& record, const std::string& task_id,
                  const wavefield::v1::TaskExited& exited, absl::Time now);
// All tasks on the worker are gone; on incarnations other than `spared` only if that is not empty.
// True if there were any.
bool OnWorkerGone(JobRecord& record, const std::string& worker,
                  const std::string& spared_incarnation, const std::string& why, absl::Time now);
// One task that nobody knows of any more.
void OnTaskVanished(JobRecord& record, const std::string& task_id, absl::Time now);

// What follows asks the ranks of an attempt under way to write a checkpoint and end, and does the
// rest at once where there is none. A later request replaces one that is not done yet, but none
// replaces a cancellation. Nothing happens to a job that ended.
void RequestCancel(JobRecord& record, absl::Time now);
void RequestPause(JobRecord& record, absl::Time now);
// Of an attempt that was not asked to stop yet: the job is queued again after it, and that costs no
// restart. REQUIRES PREEMPTED or WORKER_DRAINED. `message` says for whom or what.
void RequestYield(JobRecord& record, wavefield::v1::JobReason reason, const std::string& message);
// The ranks did not stop in time and are dropped.
void ForceStop(JobRecord& record, const std::string& why, absl::Time now);

// Queues a job again that is paused, is about to be, or has ended; its restarts count from zero.
void Resume(JobRecord& record, absl::Time now);
// A queued job waits in vain.
void FailForDependency(JobRecord& record, const std::string& message, absl::Time now);

// Nothing is left of the budget that the job has now.
bool BudgetIsUsedUp(const JobRecord& record);

// Keeps the last 20.
void AddWarning(JobRecord& record, const std::string& warning);

}  // namespace wavefield::coordinator
