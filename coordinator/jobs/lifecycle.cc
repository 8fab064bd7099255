#include "coordinator/jobs/lifecycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "coordinator/explain/root_cause.h"
#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/check.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

constexpr int kMaxWarnings = 20;
constexpr size_t kMaxTextBytes = 1000;
constexpr size_t kMaxFatalBytes = 2000;
constexpr size_t kMaxPhaseBytes = 20;
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

// No attempt is under way any more.
void Leave(JobRecord& record, JobState state, JobReason reason, const std::string& message) {
  Job& job = *record.mutable_job();
  job.set_state(state);
  job.set_reason(reason);
  job.set_state_message(message);
  job.clear_placements();
  job.set_epoch(job.epoch() + 1);
  record.clear_stop_reason();
  record.clear_preempts();
  Prune(record);
}

void End(JobRecord& record, JobState state, JobReason reason, const std::string& message,
         absl::Time now) {
  Leave(record, state, reason, message);
  *record.mutable_job()->mutable_end_time() = ToTimestamp(now);
}

// Joins the queue anew; who leaves to JOB_STATE_QUEUED otherwise keeps the time it has waited.
void Queue(JobRecord& record, JobReason reason, const std::string& message, absl::Time now) {
  Leave(record, JOB_STATE_QUEUED, reason, message);
  *record.mutable_job()->mutable_queue_time() = ToTimestamp(now);
}

void Requeue(JobRecord& record, const std::string& cause, const std::string& message) {
  AddWarning(record, fmt::format("attempt {}: {}", record.job().attempt(), cause));
  Leave(record, JOB_STATE_QUEUED, JOB_REASON_RESTARTING, message);
}

void AskToStop(JobRecord& record, JobReason reason, const std::string& message) {
  record.set_stop_reason(reason);
  record.mutable_job()->set_state(JOB_STATE_STOPPING);
  record.mutable_job()->set_reason(reason);
  record.mutable_job()->set_state_message(message);
}

// The attempt that was asked to stop is over; `how` says how it ended.
void EndStopped(JobRecord& record, const std::string& how, absl::Time now) {
  if (record.cancel_requested()) {
    End(record, JOB_STATE_CANCELLED, JOB_REASON_CANCELLED_BY_USER, how, now);
  } else if (record.stop_reason() == JOB_REASON_PAUSED_BY_USER) {
    Leave(record, JOB_STATE_PAUSED, JOB_REASON_PAUSED_BY_USER, how);
  } else if (record.stop_reason() == JOB_REASON_WAITING_FOR_SLOTS) {
    Queue(record, record.stop_reason(), "resumed; waits for its turn", now);
  } else {
    const JobReason reason = record.stop_reason();
    const std::string message = fmt::format("{}; {}", record.job().state_message(), how);
    if (reason == JOB_REASON_WORKER_DRAINED) {
      Leave(record, JOB_STATE_QUEUED, reason, message);
    } else {
      Queue(record, reason, message, now);
    }
  }
}

bool StepsAreDone(const JobRecord& record) {
  const Job& job = record.job();
  return job.max_steps() > 0 &&
         std::max(job.last_step().step(), record.finished_step()) >= job.max_steps();
}

bool WasAskedToStop(const JobRecord& record) {
  return record.cancel_requested() || record.stop_reason() != JOB_REASON_UNSPECIFIED;
}

void FailAttempt(JobRecord& record, JobReason reason, const std::string& cause, RootCause root,
                 absl::Time now) {
  Job& job = *record.mutable_job();
  AddRootCause(record, std::move(root));
  CountAttemptEnd(record, WasAskedToStop(record)             ? AttemptEnd::kStopped
                          : reason == JOB_REASON_WORKER_LOST ? AttemptEnd::kLost
                                                             : AttemptEnd::kFailed);
  if (WasAskedToStop(record)) {
    AddWarning(record, fmt::format("attempt {}: {}", job.attempt(), cause));
    EndStopped(record, "stopped; its last checkpoint may be missing: " + cause, now);
    return;
  }
  const int allowed = job.spec().restart().max_restarts();
  const int used = job.restarts() - record.forgiven_restarts();
  if (used >= allowed) {
    const bool exhausted = allowed > 0;
    End(record, JOB_STATE_FAILED, exhausted ? JOB_REASON_RESTARTS_EXHAUSTED : reason,
        exhausted ? fmt::format("after {} of {} restarts: {}", used, allowed, cause) : cause, now);
    return;
  }
  job.set_restarts(job.restarts() + 1);
  ++(*record.mutable_restarts_by_reason())[reason];
  Requeue(record, cause, fmt::format("restarts ({} of {}) because {}", used + 1, allowed, cause));
}

bool AllEnded(const JobRecord& record) {
  return std::all_of(record.tasks().begin(), record.tasks().end(), [&](const TaskRecord& task) {
    return task.epoch() != record.job().epoch() || task.ended();
  });
}

// Notes in the record of a job that has just succeeded whether it was time that ended it.
void NoteUsedBudget(JobRecord& record) {
  record.set_used_minutes(StepsAreDone(record) ? 0 : record.job().spec().training().max_minutes());
}

void CompleteAttempt(JobRecord& record, absl::Time now) {
  const Job& job = record.job();
  const std::string at = fmt::format("at step {}", job.last_step().step());
  if (!record.finished()) {
    FailAttempt(record, JOB_REASON_RANK_ERROR,
                "all ranks exited with code 0 before training was done",
                CauseOfEarlyEnd(record, now), now);
    return;
  }
  CountAttemptEnd(record, AttemptEnd::kClean);
  if (!record.stopped()) {
    End(record, JOB_STATE_SUCCEEDED, JOB_REASON_BUDGET_REACHED, "the budget is used up " + at, now);
    NoteUsedBudget(record);
  } else if (WasAskedToStop(record)) {
    EndStopped(record, "stopped on request " + at, now);
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
  if (!exited.last_lines().empty()) text += "\nlast lines of its log:";
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
  record.clear_preempts();
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

void OnTrainerFailure(JobRecord& record, const std::string& task_id,
                      const wavefield::v1::TrainerFailure& failure) {
  TaskRecord* task = FindTask(record, task_id);
  if (task == nullptr) return;
  TrainerFailure& kept = *task->mutable_failure();
  kept = failure;
  kept.set_message(Shortened(failure.message(), kMaxFatalBytes));
  kept.set_phase(Shortened(failure.phase(), kMaxPhaseBytes));
  task->set_fatal(kept.message());
}

void OnTrainingFinished(JobRecord& record, const wavefield::v1::TrainingFinished& finished) {
  record.set_finished(true);
  record.set_stopped(finished.stopped());
  record.set_finished_step(std::max(finished.step(), record.finished_step()));
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
  RootCause root = CauseOfExit(record, *task, exited, now);
  if (!IsOfAttempt(record, *task)) {
    if (!task->clean()) CompleteRootCause(record, root);
    Prune(record);
  } else if (!task->clean()) {
    const std::string cause =
        root.rank() == task->rank() ? DescribeExit(*task, exited) : DescribeRootCause(root);
    FailAttempt(record, exited.has_signal() ? JOB_REASON_RANK_DIED : JOB_REASON_RANK_ERROR, cause,
                std::move(root), now);
  } else if (AllEnded(record)) {
    CompleteAttempt(record, now);
  }
}

bool OnWorkerGone(JobRecord& record, const std::string& worker,
                  const std::string& spared_incarnation, const std::string& why, absl::Time now) {
  bool any = false;
  std::string cause;
  std::optional<RootCause> root;
  CountHeld(record, now);
  for (TaskRecord& task : *record.mutable_tasks()) {
    if (task.worker() != worker || task.ended()) continue;
    if (!spared_incarnation.empty() && task.incarnation() == spared_incarnation) continue;
    any = true;
    task.set_ended(true);
    task.set_ending("its worker was lost");
    if (root) continue;
    root = CauseOfLostWorker(record, task, !spared_incarnation.empty(), why, now);
    if (IsOfAttempt(record, task)) {
      cause = fmt::format("rank {} was lost with workers/{}: {}", task.rank(), worker, why);
    }
  }
  if (!cause.empty()) {
    FailAttempt(record, JOB_REASON_WORKER_LOST, cause, *std::move(root), now);
  } else if (any) {
    CompleteRootCause(record, *root);
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
      CauseOfVanishedTask(record, *task, now), now);
}

void RequestCancel(JobRecord& record, absl::Time now) {
  Job& job = *record.mutable_job();
  if (HasEnded(job.state()) || record.cancel_requested()) return;
  record.set_cancel_requested(true);
  if (!HasAttempt(job.state())) {
    CountHeld(record, now);
    EndStopped(record,
               job.state() == JOB_STATE_PAUSED ? "cancelled while it was paused"
                                               : "cancelled while it waited",
               now);
    return;
  }
  AskToStop(record, JOB_REASON_CANCELLED_BY_USER, "finishes its step and writes a last checkpoint");
}

void RequestPause(JobRecord& record, absl::Time now) {
  const JobState state = record.job().state();
  if (HasEnded(state) || record.cancel_requested() || state == JOB_STATE_PAUSED) return;
  if (state == JOB_STATE_QUEUED) {
    CountHeld(record, now);
    Leave(record, JOB_STATE_PAUSED, JOB_REASON_PAUSED_BY_USER, "paused while it waited");
    return;
  }
  AskToStop(record, JOB_REASON_PAUSED_BY_USER,
            "finishes its step and writes a checkpoint, then pauses");
}

void RequestYield(JobRecord& record, JobReason reason, const std::string& message) {
  WF_CHECK(reason == JOB_REASON_PREEMPTED || reason == JOB_REASON_WORKER_DRAINED);
  const JobState state = record.job().state();
  if (state == JOB_STATE_STARTING || state == JOB_STATE_RUNNING) {
    AskToStop(record, reason, message);
  }
}

void Resume(JobRecord& record, absl::Time now) {
  Job& job = *record.mutable_job();
  if (job.state() == JOB_STATE_STOPPING && !record.cancel_requested() &&
      record.stop_reason() == JOB_REASON_PAUSED_BY_USER) {
    record.set_forgiven_restarts(job.restarts());
    AskToStop(record, JOB_REASON_WAITING_FOR_SLOTS,
              "finishes its step and writes a checkpoint, then joins the queue");
    return;
  }
  if (job.state() != JOB_STATE_PAUSED && !HasEnded(job.state())) return;
  CountHeld(record, now);
  record.set_forgiven_restarts(job.restarts());
  record.set_cancel_requested(false);
  job.clear_end_time();
  Queue(record, JOB_REASON_WAITING_FOR_SLOTS, "resumed; waits for its turn", now);
}

void FailForDependency(JobRecord& record, const std::string& message, absl::Time now) {
  if (record.job().state() != JOB_STATE_QUEUED) return;
  CountHeld(record, now);
  AddRootCause(record, CauseOfDependency(record, message, now));
  End(record, JOB_STATE_FAILED, JOB_REASON_DEPENDENCY_FAILED, message, now);
}

void ForceStop(JobRecord& record, const std::string& why, absl::Time now) {
  if (record.job().state() != JOB_STATE_STOPPING) return;
  CountHeld(record, now);
  CountAttemptEnd(record, AttemptEnd::kStopped);
  AddRootCause(record, CauseOfNotStopping(record, why, now));
  EndStopped(record, why, now);
}

bool BudgetIsUsedUp(const JobRecord& record) {
  if (StepsAreDone(record)) return true;
  const double minutes = record.job().spec().training().max_minutes();
  return record.used_minutes() > 0 && minutes > 0 && minutes <= record.used_minutes();
}

void AddWarning(JobRecord& record, const std::string& warning) {
  auto& warnings = *record.mutable_job()->mutable_warnings();
  *warnings.Add() = Shortened(warning, kMaxTextBytes);
  if (warnings.size() > kMaxWarnings) warnings.DeleteSubrange(0, warnings.size() - kMaxWarnings);
}

}  // namespace wavefield::coordinator
