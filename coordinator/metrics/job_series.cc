#include "coordinator/metrics/job_series.h"

#include <cmath>

#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"

namespace wavefield::coordinator {
namespace {

void RaiseTo(prometheus::Counter& counter, double value) {
  if (value > counter.Value()) counter.Increment(value - counter.Value());
}

// The last finite value stays: what is not finite is counted, not drawn.
void SetIfFinite(prometheus::Gauge& gauge, double value) {
  if (std::isfinite(value)) gauge.Set(value);
}

}  // namespace

JobSeries::Series& JobSeries::Of(const std::string& job) {
  const auto found = series_.find(job);
  if (found != series_.end()) return found->second;
  const prometheus::Labels labels = {{"training_job", job}};
  Series series;
  series.loss = &metrics_.loss.Add(labels);
  series.perplexity = &metrics_.perplexity.Add(labels);
  series.learning_rate = &metrics_.learning_rate.Add(labels);
  series.grad_norm = &metrics_.grad_norm.Add(labels);
  series.step = &metrics_.step.Add(labels);
  series.token_rate = &metrics_.token_rate.Add(labels);
  series.matmul_rate_ratio = &metrics_.matmul_rate_ratio.Add(labels);
  series.tokens = &metrics_.tokens.Add(labels);
  series.restarts = &metrics_.restarts.Add(labels);
  series.non_finite_steps = &metrics_.non_finite_steps.Add(labels);
  return series_.emplace(job, series).first->second;
}

void JobSeries::JobsCommitted(const std::vector<JobRecord>& records) {
  std::lock_guard lock(mutex_);
  for (const JobRecord& record : records) {
    const wavefield::v1::Job& job = record.job();
    const std::string id = JobId(record);
    // Nothing to show before the first step, nor of a job whose series are gone already.
    if (!job.has_last_step()) continue;
    if (HasEnded(job.state()) && !series_.contains(id) &&
        FromTimestamp(job.end_time()) + retention_ <= clock_.Now()) {
      continue;
    }
    Series& series = Of(id);
    const wavefield::v1::StepMetrics& step = job.last_step();
    SetIfFinite(*series.loss, step.loss());
    SetIfFinite(*series.perplexity, step.perplexity());
    SetIfFinite(*series.learning_rate, step.learning_rate());
    SetIfFinite(*series.grad_norm, step.grad_norm());
    SetIfFinite(*series.token_rate, step.tokens_per_second());
    SetIfFinite(*series.matmul_rate_ratio, step.matmul_rate_ratio());
    series.step->Set(static_cast<double>(step.step()));
    RaiseTo(*series.tokens, static_cast<double>(step.total_tokens()));
    RaiseTo(*series.restarts, job.restarts());
    if (job.has_last_evaluation()) {
      if (series.evaluation_loss == nullptr) {
        series.evaluation_loss = &metrics_.evaluation_loss.Add({{"training_job", id}});
      }
      SetIfFinite(*series.evaluation_loss, job.last_evaluation().loss());
    }
    series.ended_at = HasEnded(job.state()) ? clock_.Monotonic() : absl::InfiniteDuration();
  }
}

void JobSeries::CountNonFiniteSteps(const std::vector<std::string>& jobs) {
  std::lock_guard lock(mutex_);
  for (const std::string& job : jobs) Of(job).non_finite_steps->Increment();
}

void JobSeries::Retire() {
  std::lock_guard lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  std::erase_if(series_, [&](const auto& entry) {
    const Series& series = entry.second;
    if (series.ended_at + retention_ > now) return false;
    metrics_.loss.Remove(series.loss);
    metrics_.perplexity.Remove(series.perplexity);
    if (series.evaluation_loss != nullptr) metrics_.evaluation_loss.Remove(series.evaluation_loss);
    metrics_.learning_rate.Remove(series.learning_rate);
    metrics_.grad_norm.Remove(series.grad_norm);
    metrics_.step.Remove(series.step);
    metrics_.token_rate.Remove(series.token_rate);
    metrics_.matmul_rate_ratio.Remove(series.matmul_rate_ratio);
    metrics_.tokens.Remove(series.tokens);
    metrics_.restarts.Remove(series.restarts);
    metrics_.non_finite_steps.Remove(series.non_finite_steps);
    return true;
  });
}

}  // namespace wavefield::coordinator
