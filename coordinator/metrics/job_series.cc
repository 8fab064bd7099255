#include "coordinator/metrics/job_series.h"

#include <algorithm>
#include <cmath>

#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/names.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/metrics/label_values.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

constexpr JobReason kCausesOfRestarts[] = {JOB_REASON_RANK_DIED, JOB_REASON_RANK_ERROR,
                                           JOB_REASON_WORKER_LOST};

void ShowInfo(SeriesGroup& series, const wavefield::v1::Job& job) {
  const JobSpec& spec = job.spec();
  series.Set(metric::kTrainingInfo, 1,
             {{"dataset", IdIn(spec.dataset())},
              {"device", spec.resources().device()},
              {"precision", spec.training().precision()},
              {"ranks", std::to_string(spec.resources().world_size())}});
  if (job.max_steps() > 0) series.Set(metric::kMaxSteps, static_cast<double>(job.max_steps()));
}

// Counters of events begin with the job.
void BeginCounters(SeriesGroup& series) {
  for (const Metric* counter :
       {&metric::kTokens, &metric::kNonFiniteSteps, &metric::kLossSpikes, &metric::kCheckpoints,
        &metric::kCheckpointFailures, &metric::kVerificationFailures}) {
    series.Add(*counter, 0);
  }
  for (const char* phase :
       {"data", "forward", "backward", "communicate", "optimize", "checkpoint"}) {
    series.Add(metric::kPhaseTime, 0, {{"phase", phase}});
  }
  for (const JobReason cause : kCausesOfRestarts) {
    series.Add(metric::kRestarts, 0, {{"reason", NameOf(cause)}});
  }
}

void ShowStep(SeriesGroup& series, const StepMetrics& step, absl::Time reported) {
  series.Set(metric::kStep, static_cast<double>(step.step()));
  series.Set(metric::kLoss, step.loss());
  series.Set(metric::kPerplexity, step.perplexity());
  series.Set(metric::kAccuracy, step.accuracy());
  series.Set(metric::kLearningRate, step.learning_rate());
  series.Set(metric::kGradNorm, step.grad_norm());
  series.RaiseTo(metric::kTokens, static_cast<double>(step.total_tokens()));
  series.Set(metric::kTokenRate, step.tokens_per_second());
  // 0: the rate of a product is not known.
  if (step.matmul_rate_ratio() > 0) series.Set(metric::kMatmulRateRatio, step.matmul_rate_ratio());
  series.Set(metric::kRankSkew, step.rank_skew_seconds());
  if (reported > absl::UnixEpoch()) {
    series.Set(metric::kLastStepTime, absl::ToDoubleSeconds(reported - absl::UnixEpoch()));
  }
}

void ShowEvaluation(SeriesGroup& series, const EvaluationResult& evaluation) {
  series.Set(metric::kEvaluationLoss, evaluation.loss());
  series.Set(metric::kEvaluationPerplexity, evaluation.perplexity());
  series.Set(metric::kEvaluationBitsPerByte, evaluation.bits_per_byte());
  series.Set(metric::kEvaluationAccuracy, evaluation.accuracy());
  if (evaluation.has_ema_loss()) series.Set(metric::kEvaluationEmaLoss, evaluation.ema_loss());
  series.Set(metric::kEvaluationDuration, evaluation.seconds());
}

void ShowGoodput(SeriesGroup& series, const Goodput& goodput) {
  const auto show = [&](const char* bucket, int64_t slot_milliseconds) {
    series.RaiseTo(metric::kGoodput, static_cast<double>(slot_milliseconds) / 1000,
                   {{"bucket", bucket}});
  };
  show("startup", goodput.startup());
  show("useful_steps", goodput.useful_steps());
  show("redone_steps", goodput.redone_steps());
  show("data_wait", goodput.data_wait());
  show("communication", goodput.communication());
  show("checkpoint_stall", goodput.checkpoint_stall());
  show("evaluation", goodput.evaluation());
  show("recovery", goodput.recovery());
  show("hang", goodput.hang());
  show("idle", goodput.idle());
}

void ShowRecord(SeriesGroup& series, const JobRecord& record) {
  const wavefield::v1::Job& job = record.job();
  series.Set(metric::kTrainingState, 1, {{"state", NameOf(job.state())}});
  series.RaiseTo(metric::kAttempts, job.attempt());
  for (const auto& [reason, count] : record.restarts_by_reason()) {
    series.RaiseTo(metric::kRestarts, count, {{"reason", NameOf(static_cast<JobReason>(reason))}});
  }
  if (job.has_last_step()) {
    ShowStep(series, job.last_step(), FromTimestamp(record.last_step_time()));
  }
  if (job.has_last_evaluation()) ShowEvaluation(series, job.last_evaluation());
  ShowGoodput(series, job.goodput());
}

void CountPhases(SeriesGroup& series, const PhaseSeconds& seconds) {
  const auto add = [&](const char* phase, double time) {
    series.Add(metric::kPhaseTime, time, {{"phase", phase}});
  };
  add("data", seconds.data());
  add("forward", seconds.forward());
  add("backward", seconds.backward());
  add("communicate", seconds.communicate());
  add("optimize", seconds.optimize());
  add("checkpoint", seconds.checkpoint());
}

void ShowNewest(SeriesGroup& series, int64_t step, int64_t bytes, absl::Time committed) {
  series.Set(metric::kCheckpointStep, static_cast<double>(step));
  series.Set(metric::kCheckpointSize, static_cast<double>(bytes));
  series.Set(metric::kCheckpointTime, absl::ToDoubleSeconds(committed - absl::UnixEpoch()));
}

// Of the magnitudes that are finite; none: there is no such head.
std::optional<double> MedianOverHeads(const LayerHealth& layer,
                                      double (HeadHealth::*value)() const) {
  std::vector<double> values;
  for (const HeadHealth& head : layer.heads()) {
    if (std::isfinite((head.*value)())) values.push_back(std::abs((head.*value)()));
  }
  if (values.empty()) return std::nullopt;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

void ShowLayer(SeriesGroup& series, const std::string& layer, const LayerHealth& health) {
  const auto set = [&](const Metric& metric, std::optional<double> value) {
    if (value) series.Set(metric, *value, {{"layer", layer}});
  };
  set(metric::kResidualRms, health.residual_rms());
  set(metric::kMixerRms, health.mixer_rms());
  if (health.has_gradient_rms()) set(metric::kGradientRms, health.gradient_rms());
  if (health.has_update_ratio()) set(metric::kUpdateRatio, health.update_ratio());
  set(metric::kFrequency, MedianOverHeads(health, &HeadHealth::frequency));
  set(metric::kCouplingEntropy, MedianOverHeads(health, &HeadHealth::coupling_entropy));
  const auto set_quantile = [&](const char* quantile, double (HeadHealth::*value)() const) {
    if (const auto median = MedianOverHeads(health, value)) {
      series.Set(metric::kTimeConstant, *median, {{"layer", layer}, {"token_quantile", quantile}});
    }
  };
  set_quantile("0.1", &HeadHealth::time_constant_p10);
  set_quantile("0.5", &HeadHealth::time_constant_p50);
  set_quantile("0.9", &HeadHealth::time_constant_p90);
}

void ShowHealth(SeriesGroup& series, const FieldHealth& health) {
  for (int i = 0; i < health.layers_size(); ++i) {
    ShowLayer(series, std::to_string(i), health.layers(i));
  }
}

}  // namespace

void JobSeries::JobsCommitted(const std::vector<JobRecord>& records) {
  std::lock_guard lock(mutex_);
  for (const JobRecord& record : records) {
    const wavefield::v1::Job& job = record.job();
    const std::string id = JobId(record);
    const bool known = jobs_.contains(id);
    if (HasEnded(job.state()) && !known &&
        FromTimestamp(job.end_time()) + retention_ <= clock_.Now()) {
      continue;
    }
    Job& entry = jobs_[id];
    TakeTransition(entry, record, known);
    if (entry.series == nullptr && job.attempt() > 0) {
      entry.series = std::make_unique<SeriesGroup>(table_, SeriesLabels{{"training_job", id}});
      BeginCounters(*entry.series);
      ShowInfo(*entry.series, job);
    }
    if (entry.series != nullptr) ShowRecord(*entry.series, record);
    if (!HasEnded(job.state())) {
      entry.ended_at = absl::InfiniteDuration();
    } else if (entry.series == nullptr) {
      jobs_.erase(id);
    } else if (entry.ended_at == absl::InfiniteDuration()) {
      entry.ended_at = clock_.Monotonic();
    }
  }
}

void JobSeries::TakeTransition(Job& entry, const JobRecord& record, bool known) {
  const wavefield::v1::Job& job = record.job();
  if (job.attempt() > entry.attempt) {
    if (entry.wants_to_run_since) {
      metrics_.queue_wait_seconds.Observe(
          std::max(0.0, absl::ToDoubleSeconds(clock_.Now() - *entry.wants_to_run_since)));
    }
    entry.losses = {};
    entry.attempt = job.attempt();
  }
  if (job.state() == entry.state) return;
  if (entry.series != nullptr) {
    entry.series->Remove(metric::kTrainingState, {{"state", NameOf(entry.state)}});
  }
  entry.state = job.state();
  entry.wants_to_run_since.reset();
  if (job.state() != JOB_STATE_QUEUED) return;
  if (job.attempt() == 0) {
    entry.wants_to_run_since = FromTimestamp(job.create_time());
  } else if (known) {
    entry.wants_to_run_since = clock_.Now();
  }
}

void JobSeries::EventsCommitted(const std::vector<TrainingEvent>& events) {
  std::lock_guard lock(mutex_);
  for (const auto& [id, event] : events) {
    if (Job* job = Find(id)) TakeEvent(*job, event);
  }
}

void JobSeries::TakeEvent(Job& job, const TrainerEvent& event) {
  SeriesGroup& series = *job.series;
  switch (event.event_case()) {
    case TrainerEvent::kTrainingStarted:
      series.Add(metric::kVerificationFailures, event.training_started().refused_checkpoints());
      break;
    case TrainerEvent::kStep: {
      const StepMetrics& step = event.step();
      series.Observe(metric::kStepDuration, step.step_seconds());
      CountPhases(series, step.phase_seconds());
      const bool finite = std::isfinite(step.loss()) && std::isfinite(step.grad_norm());
      if (!finite) series.Add(metric::kNonFiniteSteps, 1);
      if (job.losses.TakeSpike(step.loss())) series.Add(metric::kLossSpikes, 1);
      break;
    }
    case TrainerEvent::kFieldHealth:
      ShowHealth(series, event.field_health());
      break;
    case TrainerEvent::kCheckpointSaved: {
      const CheckpointSaved& saved = event.checkpoint_saved();
      metrics_.checkpoint_save_seconds.Observe(saved.seconds());
      series.Set(metric::kCheckpointStall, saved.seconds());
      series.Add(metric::kCheckpoints, 1);
      ShowNewest(series, saved.step(), saved.bytes(), clock_.Now());
      break;
    }
    case TrainerEvent::kCheckpointFailed:
      series.Add(metric::kCheckpointFailures, 1);
      break;
    default:
      break;
  }
}

void JobSeries::ShowCheckpoint(const std::string& id, const Checkpoint& checkpoint) {
  std::lock_guard lock(mutex_);
  if (Job* job = Find(id)) {
    ShowNewest(*job->series, checkpoint.step(), checkpoint.bytes(),
               FromTimestamp(checkpoint.create_time()));
  }
}

void JobSeries::ShowFieldHealth(const std::string& id, const FieldHealth& health) {
  std::lock_guard lock(mutex_);
  if (Job* job = Find(id)) ShowHealth(*job->series, health);
}

JobSeries::Job* JobSeries::Find(const std::string& id) {
  const auto found = jobs_.find(id);
  return found == jobs_.end() || found->second.series == nullptr ? nullptr : &found->second;
}

void JobSeries::Forget(const std::string& job) {
  std::lock_guard lock(mutex_);
  jobs_.erase(job);
}

void JobSeries::Retire() {
  std::lock_guard lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  std::erase_if(jobs_,
                [&](const auto& entry) { return entry.second.ended_at + retention_ <= now; });
}

}  // namespace wavefield::coordinator
