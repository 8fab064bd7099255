#include "coordinator/jobs/lifecycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/check.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

constexpr int kMaxWarnings = 20;
constexpr size_t kMaxTextBytes = 1000;
constexpr int kMaxLogLines = 8;

// Tasks that ended and belong to no attempt under way say nothing any more.
void Prune(JobRecord& record) {
  const bool attempt = HasAttempt(record.job().state());
  auto& tasks = *record.mutable_tasks();
  const int64_t epoch = record.job().epoch();
  tasks.erase(std::remove_if(tasks.begin(), tasks.end(),
                             [&](const TaskRecord& task) {
                               return task.ended() && !(attempt && task.epoch() == epoch);
                             }),
              tasks.end());
}

void End(JobRecord& record, JobState state, JobReason reason, const std::string& message,
         absl::Time now) {
  Job& job = *record.mutable_job();
  job.set_state(state);
  job.set_reason(reason);
  job.set_state_message(message);
  *job.mutable_end_time() = ToTimestamp(now);
  job.clear_placements();
  job.set_epoch(job.epoch() + 1);
  Prune(record);
}

void Requeue(JobRecord& record, const std::string& cause, const std::string& message) {
  Job& job = *record.mutable_job();
  AddWarning(record, fmt::format("attempt {}: {}", job.attempt(), cause));
  job.set_state(JOB_STATE_QUEUED);
  job.set_reason(JOB_REASON_RESTARTING);
  job.set_state_message(message);
  job.clear_placements();
  job.set_epoch(job.epoch() + 1);
  Prune(record);
}

void FailAttempt(JobRecord& record, JobReason reason, const std::string& cause, absl::Time now) {
  Job& job = *record.mutable_job();
  CountAttemptEnd(record, record.cancel_requested()          ? AttemptEnd::kStopped
                          : reason == JOB_REASON_WORKER_LOST ? AttemptEnd::kLost
                                                             : AttemptEnd::kFailed);
  if (record.cancel_requested()) {
    End(record, JOB_STATE_CANCELLED, JOB_REASON_CANCELLED_BY_USER,
        "cancelled; its last checkpoint may be missing: " + cause, now);
    return;
  }
  const int allowed = job.spec().restart().max_restarts();
  if (job.restarts() >= allowed) {
    const bool exhausted = allowed > 0;
    End(record, JOB_STATE_FAILED, exhausted ? JOB_REASON_RESTARTS_EXHAUSTED : reason,
        exhausted ? fmt::format("{} (after {} of {} restarts)", cause, job.restarts(), allowed)
                  : cause,
        now);
    return;
  }
  job.set_restarts(job.restarts() + 1);
  ++(*record.mutable_restarts_by_reason())[reason];
  Requeue(record, cause,
          fmt::format("restarts ({} of {}) because {}", job.restarts(), allowed, cause));
}

bool AllEnded(const JobRecord& record) {
  return std::all_of(record.tasks().begin(), record.tasks().end(), [&](const TaskRecord& task) {
    return task.epoch() != record.job().epoch() || task.ended();
  });
}

void CompleteAttempt(JobRecord& record, absl::Time now) {
  const Job& job = record.job();
  const std::string at = fmt::format("at step {}", job.last_step().step());
  if (!record.finished()) {
    FailAttempt(record, JOB_REASON_RANK_ERROR,
                "all ranks exited with code 0 before training was done", now);
    return;
  }
  CountAttemptEnd(record, AttemptEnd::kClean);
  if (!record.stopped()) {
    End(record, JOB_STATE_SUCCEEDED, JOB_REASON_BUDGET_REACHED, "the budget is used up " + at, now);
  } else if (record.cancel_requested()) {
    End(record, JOB_STATE_CANCELLED, JOB_REASON_CANCELLED_BY_USER, "stopped on request " + at, now);
  } else {
    // An orderly end with a last checkpoint: no failure, so it costs no restart.
    Requeue(record, "its worker was shut down " + at,
            "continues when a worker is there: its worker was shut down " + at);
  }
}

std::string DescribeExit(const TaskRecord& task, const TaskExited& exited) {
  std::string text =
      fmt::format("rank {} on workers/{} ended with {}", task.rank(), task.worker(), task.ending());
  if (!task.fatal().empty()) text += ": " + task.fatal();
  if (!exited.last_lines().empty()) text += "; last lines of its log:";
  for (int i = std::max(0, exited.last_lines_size() - kMaxLogLines); i < exited.last_lines_size();
       ++i) {
    text += "\n  " + Shortened(exited.last_lines(i), 200);
  }
  return text;
}

TaskRecord* FindTask(JobRecord& record, const std::string& task_id) {
  for (TaskRecord& task : *record.mutable_tasks()) {
    if (task.task_id() == task_id && !task.ended()) return &task;
  }
  return nullptr;
}

bool IsOfAttempt(const JobRecord& record, const TaskRecord& task) {
  return task.epoch() == record.job().epoch() && HasAttempt(record.job().state());
}

}  // namespace

std::string TaskId(const std::string& job, int64_t epoch, int rank) {
  return fmt::format("{}/{}/{}", job, epoch, rank);
}

void StartAttempt(JobRecord& record, const std::vector<Placement>& placements,
                  const std::vector<std::string>& resume_candidates, absl::Time now) {
  WF_CHECK(record.job().state() == JOB_STATE_QUEUED && !HoldsSlots(record));
  Job& job = *record.mutable_job();
  job.set_attempt(job.attempt() + 1);
  job.set_state(JOB_STATE_STARTING);
  job.set_reason(JOB_REASON_UNSPECIFIED);
  job.set_state_message(
      fmt::format("starts {} rank{}", placements.size(), placements.size() == 1 ? "" : "s"));
  job.clear_placements();
  record.clear_tasks();
  for (size_t i = 0; i < placements.size(); ++i) {
    const int rank = static_cast<int>(i);
    RankPlacement& shown = *job.add_placements();
    shown.set_rank(rank);
    shown.set_worker("workers/" + placements[i].worker);
    shown.set_slot(placements[i].slot);
    TaskRecord& task = *record.add_tasks();
    task.set_task_id(TaskId(JobId(record), job.epoch(), rank));
    task.set_epoch(job.epoch());
    task.set_rank(rank);
    task.set_worker(placements[i].worker);
    task.set_incarnation(placements[i].incarnation);
    task.set_slot(placements[i].slot);
  }
  CountAttemptStart(record, now);
  record.mutable_resume_candidates()->Assign(resume_candidates.begin(), resume_candidates.end());
  record.clear_resumed_from();
  record.set_training_started(false);
  record.set_finished(false);
  record.set_stopped(false);
}

TaskRecord* FindLiveTask(JobRecord& record, const std::string& task_id) {
  TaskRecord* task = FindTask(record, task_id);
  return task != nullptr && IsOfAttempt(record, *task) ? task : nullptr;
}

void OnTaskStarted(JobRecord& record, const std::string& task_id, int pid) {
  TaskRecord* task = FindTask(record, task_id);
  if (task == nullptr) return;
  task->set_started(true);
  task->set_pid(pid);
  if (!IsOfAttempt(record, *task)) return;
  for (RankPlacement& placement : *record.mutable_job()->mutable_placements()) {
    if (placement.rank() == task->rank()) placement.set_pid(pid);
  }
}

void OnTrainingStarted(JobRecord& record, const wavefield::v1::TrainingStarted& started,
                       absl::Time now) {
  Job& job = *record.mutable_job();
  if (record.training_started()) return;
  record.set_training_started(true);
  record.set_resumed_from(started.resumed_from());
  record.set_fingerprint(started.fingerprint());
  if (!job.has_start_time()) *job.mutable_start_time() = ToTimestamp(now);
  if (!started.resumed_from().empty() && !started.exact()) {
    AddWarning(record,
               fmt::format("attempt {} resumed on other hardware or libraries: the same data, but "
                           "not the same bits",
                           job.attempt()));
  }
  if (job.state() != JOB_STATE_STARTING) return;
  job.set_state(JOB_STATE_RUNNING);
  job.set_state_message(started.resumed_from().empty()
                            ? "trains"
                            : fmt::format("trains, resumed before step {}", started.first_step()));
}

void OnTrainingFinished(JobRecord& record, const wavefield::v1::TrainingFinished& finished) {
  record.set_finished(true);
  record.set_stopped(finished.stopped());
}

void OnTaskExited(JobRecord& record, const std::string& task_id,
                  const wavefield::v1::TaskExited& exited, absl::Time now) {
  TaskRecord* task = FindTask(record, task_id);
  if (task == nullptr) return;
  CountHeld(record, now);
  task->set_ended(true);
  task->set_clean(exited.has_code() && exited.code() == 0);
  task->set_ending(exited.has_signal()
                       ? fmt::format("signal {} ({})", exited.signal(), strsignal(exited.signal()))
                       : fmt::format("exit code {}", exited.code()));
  if (!IsOfAttempt(record, *task)) {
    Prune(record);
  } else if (!task->clean()) {
    FailAttempt(record, exited.has_signal() ? JOB_REASON_RANK_DIED : JOB_REASON_RANK_ERROR,
                DescribeExit(*task, exited), now);
  } else if (AllEnded(record)) {
    CompleteAttempt(record, now);
  }
}

bool OnWorkerGone(JobRecord& record, const std::string& worker,
                  const std::string& spared_incarnation, const std::string& why, absl::Time now) {
  bool any = false;
  std::string cause;
  CountHeld(record, now);
  for (TaskRecord& task : *record.mutable_tasks()) {
    if (task.worker() != worker || task.ended()) continue;
    if (!spared_incarnation.empty() && task.incarnation() == spared_incarnation) continue;
    any = true;
    task.set_ended(true);
    task.set_ending("its worker was lost");
    if (IsOfAttempt(record, task) && cause.empty()) {
      cause = fmt::format("rank {} was lost with workers/{}: {}", task.rank(), worker, why);
    }
  }
  if (!cause.empty()) {
    FailAttempt(record, JOB_REASON_WORKER_LOST, cause, now);
  } else if (any) {
    Prune(record);
  }
  return any;
}

void OnTaskVanished(JobRecord& record, const std::string& task_id, absl::Time now) {
  TaskRecord* task = FindTask(record, task_id);
  if (task == nullptr) return;
  CountHeld(record, now);
  task->set_ended(true);
  task->set_ending("no trace");
  if (!IsOfAttempt(record, *task)) {
    Prune(record);
    return;
  }
  FailAttempt(
      record, JOB_REASON_RANK_DIED,
      fmt::format("rank {} on workers/{} is gone: its worker no longer runs it and did not see "
                  "how it ended",
                  task->rank(), task->worker()),
      now);
}

void RequestCancel(JobRecord& record, absl::Time now) {
  Job& job = *record.mutable_job();
  if (HasEnded(job.state()) || record.cancel_requested()) return;
  record.set_cancel_requested(true);
  if (job.state() == JOB_STATE_QUEUED) {
    End(record, JOB_STATE_CANCELLED, JOB_REASON_CANCELLED_BY_USER, "cancelled while it waited",
        now);
    return;
  }
  job.set_state(JOB_STATE_STOPPING);
  job.set_reason(JOB_REASON_CANCELLED_BY_USER);
  job.set_state_message("finishes its step and writes a last checkpoint");
}

void ForceCancel(JobRecord& record, const std::string& why, absl::Time now) {
  if (record.job().state() != JOB_STATE_STOPPING) return;
  CountHeld(record, now);
  CountAttemptEnd(record, AttemptEnd::kStopped);
  End(record, JOB_STATE_CANCELLED, JOB_REASON_CANCELLED_BY_USER, why, now);
}

void AddWarning(JobRecord& record, const std::string& warning) {
  auto& warnings = *record.mutable_job()->mutable_warnings();
  *warnings.Add() = Shortened(warning, kMaxTextBytes);
  if (warnings.size() > kMaxWarnings) warnings.DeleteSubrange(0, warnings.size() - kMaxWarnings);
}

}  // namespace wavefield::coordinator
