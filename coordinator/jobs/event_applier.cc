#include "coordinator/jobs/event_applier.h"

#include <fmt/format.h>

#include <map>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/lifecycle.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::TrainerEvent;
using wavefield::v1::WorkerEvent;

constexpr int kMaxHealthLayers = 1024;
constexpr int kMaxHealthHeads = 8192;  // of all layers

class Applier {
 public:
  Applier(Transaction& transaction, std::string worker, std::string incarnation,
          const CheckpointReads& reads, absl::Time now, EventOutcome& outcome)
      : transaction_(transaction),
        worker_(std::move(worker)),
        incarnation_(std::move(incarnation)),
        reads_(reads),
        now_(now),
        outcome_(outcome) {}

  absl::Status Apply(const WorkerEvent& event) {
    if (event.task_id().rfind("inference/", 0) == 0) {
      outcome_.inference.push_back(event);
      return absl::OkStatus();
    }
    const std::string id = event.task_id().substr(0, event.task_id().find('/'));
    WF_ASSIGN_OR_RETURN(JobRecord * record, Load(id));
    if (record == nullptr || !BelongsToReporter(*record, event.task_id())) return absl::OkStatus();
    switch (event.event_case()) {
      case WorkerEvent::kStarted:
        OnTaskStarted(*record, event.task_id(), event.started().pid());
        return absl::OkStatus();
      case WorkerEvent::kExited:
        OnTaskExited(*record, event.task_id(), event.exited(), now_);
        return absl::OkStatus();
      case WorkerEvent::kTrainer:
        if (event.trainer().has_failure()) {
          OnTrainerFailure(*record, event.task_id(), event.trainer().failure());
        }
        if (TaskRecord* task = FindLiveTask(*record, event.task_id())) {
          return ApplyTrainer(id, *record, *task, event.trainer());
        }
        return absl::OkStatus();
      case WorkerEvent::EVENT_NOT_SET:
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  absl::Status SaveJobs() {
    for (auto& [id, record] : jobs_) {
      if (record) WF_RETURN_IF_ERROR(transaction_.PutJob(*record));
    }
    return absl::OkStatus();
  }

 private:
  // Null: no such job.
  absl::StatusOr<JobRecord*> Load(const std::string& id) {
    const auto [entry, added] = jobs_.try_emplace(id);
    if (added) {
      auto record = transaction_.GetJob(id);
      if (record.ok()) {
        entry->second = *std::move(record);
      } else if (!absl::IsNotFound(record.status())) {
        return record.status();
      }
    }
    return entry->second ? &*entry->second : nullptr;
  }

  bool BelongsToReporter(const JobRecord& record, const std::string& task_id) const {
    for (const TaskRecord& task : record.tasks()) {
      if (task.task_id() == task_id) {
        return task.worker() == worker_ && task.incarnation() == incarnation_;
      }
    }
    return false;
  }

  absl::Status ApplyTrainer(const std::string& id, JobRecord& record, TaskRecord& task,
                            const TrainerEvent& event) {
    wavefield::v1::Job& job = *record.mutable_job();
    if (task.rank() == 0) CountReport(record, event, now_);
    switch (event.event_case()) {
      case TrainerEvent::kTrainingStarted:
        if (task.rank() == 0 && !record.training_started()) {
          outcome_.training.emplace_back(id, event);
        }
        OnTrainingStarted(record, event.training_started(), now_);
        return absl::OkStatus();
      case TrainerEvent::kStep: {
        wavefield::v1::StepMetrics step = event.step();
        step.set_attempt(job.attempt());
        *job.mutable_last_step() = step;
        *record.mutable_last_step_time() = ToTimestamp(now_);
        outcome_.training.emplace_back(id, event);
        return transaction_.PutStep(id, step);
      }
      case TrainerEvent::kEvaluation: {
        wavefield::v1::EvaluationResult evaluation = event.evaluation();
        evaluation.set_attempt(job.attempt());
        *job.mutable_last_evaluation() = evaluation;
        return transaction_.PutEvaluation(id, evaluation);
      }
      case TrainerEvent::kFieldHealth:
        return TakeFieldHealth(id, record, event);
      case TrainerEvent::kCheckpointSaved:
        return TakeCheckpoint(id, record, event.checkpoint_saved());
      case TrainerEvent::kCheckpointFailed:
        outcome_.training.emplace_back(id, event);
        AddWarning(record,
                   fmt::format("no checkpoint at step {}: {}", event.checkpoint_failed().step(),
                               event.checkpoint_failed().message()));
        return absl::OkStatus();
      case TrainerEvent::kWarning:
        AddWarning(record, event.warning());
        return absl::OkStatus();
      case TrainerEvent::kFinished:
        if (task.rank() == 0) OnTrainingFinished(record, event.finished());
        return absl::OkStatus();
      case TrainerEvent::kFailure:
      case TrainerEvent::kOutput:
      case TrainerEvent::EVENT_NOT_SET:
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  absl::Status TakeFieldHealth(const std::string& id, JobRecord& record,
                               const TrainerEvent& event) {
    wavefield::v1::FieldHealth health = event.field_health();
    int heads = 0;
    for (const auto& layer : health.layers()) heads += layer.heads_size();
    if (health.layers_size() > kMaxHealthLayers || heads > kMaxHealthHeads) {
      AddWarning(record, fmt::format("the field's health at step {} is not kept: it has {} layers "
                                     "with {} heads in all, and at most {} with {} are taken",
                                     health.step(), health.layers_size(), heads, kMaxHealthLayers,
                                     kMaxHealthHeads));
      return absl::OkStatus();
    }
    health.set_attempt(record.job().attempt());
    outcome_.training.emplace_back(id, event);
    return transaction_.PutFieldHealth(id, health);
  }

  absl::Status TakeCheckpoint(const std::string& id, JobRecord& record,
                              const wavefield::v1::CheckpointSaved& saved) {
    TrainerEvent& taken = outcome_.training.emplace_back(id, TrainerEvent()).second;
    const auto checkpoint = CheckpointFromReport(record, saved, now_);
    if (!checkpoint.ok()) {
      taken.mutable_checkpoint_failed()->set_step(saved.step());
      AddWarning(record, std::string(checkpoint.status().message()));
      return absl::OkStatus();
    }
    taken.mutable_checkpoint_saved()->set_step(saved.step());
    taken.mutable_checkpoint_saved()->set_bytes(checkpoint->bytes());
    taken.mutable_checkpoint_saved()->set_seconds(saved.seconds());
    record.set_last_write_seconds(saved.write_seconds());
    return CommitCheckpoint(transaction_, record, *checkpoint, reads_);
  }

  Transaction& transaction_;
  const std::string worker_;
  const std::string incarnation_;
  const CheckpointReads& reads_;
  const absl::Time now_;
  EventOutcome& outcome_;
  std::map<std::string, std::optional<JobRecord>> jobs_;
};

}  // namespace

absl::StatusOr<EventOutcome> ApplyEvents(Transaction& transaction, const std::string& worker,
                                         const std::string& incarnation,
                                         const wavefield::v1::ReportEventsRequest& request,
                                         const CheckpointReads& reads, absl::Time now) {
  EventOutcome outcome;
  WF_ASSIGN_OR_RETURN(outcome.acknowledged_sequence,
                      transaction.AcknowledgedSequence(worker, incarnation));
  Applier applier(transaction, worker, incarnation, reads, now, outcome);
  for (const WorkerEvent& event : request.events()) {
    if (event.sequence() <= outcome.acknowledged_sequence) continue;
    if (event.sequence() != outcome.acknowledged_sequence + 1) {
      return absl::FailedPreconditionError(
          fmt::format("events {} to {} of workers/{} are missing: send them first",
                      outcome.acknowledged_sequence + 1, event.sequence() - 1, worker));
    }
    WF_RETURN_IF_ERROR(applier.Apply(event));
    outcome.acknowledged_sequence = event.sequence();
  }
  WF_RETURN_IF_ERROR(applier.SaveJobs());
  WF_RETURN_IF_ERROR(
      transaction.SetAcknowledgedSequence(worker, incarnation, outcome.acknowledged_sequence));
  return outcome;
}

}  // namespace wavefield::coordinator
