#include "coordinator/goodput/ledger.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "coordinator/jobs/job_states.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Goodput;
using wavefield::v1::Job;
using wavefield::v1::StepMetrics;
using wavefield::v1::TrainerEvent;

// A rank 0 that trains hangs if it was silent for longer than this, than it ever was in this
// attempt, and than five of its steps.
constexpr int64_t kLeastHangMs = 30'000;
constexpr double kHangSteps = 5;
// Longer than any process lives: bounds what a trainer may claim.
constexpr double kMaxSeconds = 1e9;

// Milliseconds to be shared out among fields of Goodput, by their numbers.
struct Share {
  int bucket;
  double weight;
};
using Shares = std::vector<Share>;

double Sane(double seconds) {
  return std::isfinite(seconds) ? std::clamp(seconds, 0.0, kMaxSeconds) : 0.0;
}

void Add(Goodput& goodput, int bucket, int64_t milliseconds) {
  const auto* field = Goodput::descriptor()->FindFieldByNumber(bucket);
  const auto* reflection = goodput.GetReflection();
  reflection->SetInt64(&goodput, field, reflection->GetInt64(goodput, field) + milliseconds);
  goodput.set_total(goodput.total() + milliseconds);
}

int64_t Unaccounted(const TaskRecord& task) { return task.held_ms() - task.accounted_ms(); }

// Of one slot, at most what it holds unaccounted for. Exact: what rounding leaves over goes to
// later shares, and in the end to the last.
void Account(JobRecord& record, TaskRecord& task, int64_t milliseconds, const Shares& shares) {
  int64_t left = std::min(milliseconds, Unaccounted(task));
  task.set_accounted_ms(task.accounted_ms() + left);
  double weight =
      std::accumulate(shares.begin(), shares.end(), 0.0,
                      [](double sum, const Share& share) { return sum + share.weight; });
  for (const Share& share : shares) {
    int64_t part = left;
    if (&share != &shares.back()) {
      const double exact = weight > 0 ? static_cast<double>(left) * share.weight / weight : 0;
      part = std::clamp<int64_t>(std::lround(exact), 0, left);
    }
    Add(*record.mutable_job()->mutable_goodput(), share.bucket, part);
    left -= part;
    weight -= share.weight;
  }
}

bool IsOfAttempt(const JobRecord& record, const TaskRecord& task) {
  return HasAttempt(record.job().state()) && task.epoch() == record.job().epoch();
}

// Time without report. All slots of an attempt have the same, but those that were freed early.
int64_t Silence(const JobRecord& record) {
  int64_t longest = 0;
  for (const TaskRecord& task : record.tasks()) {
    if (IsOfAttempt(record, task)) longest = std::max(longest, Unaccounted(task));
  }
  return longest;
}

// Until the first step.
int StartBucket(const JobRecord& record) {
  return record.job().attempt() <= 1 ? Goodput::kStartupFieldNumber : Goodput::kRecoveryFieldNumber;
}

bool IsSilentForTooLong(const JobRecord& record) {
  const GoodputLedger& ledger = record.ledger();
  return Silence(record) - ledger.lead_ms() > std::max(kLeastHangMs, ledger.longest_silence_ms());
}

// Adds `seconds` of computing, spent on the steps after the last one known up to `step`.
void AddComputing(const GoodputLedger& ledger, int64_t step, double seconds, Shares& shares) {
  const double all = std::max(1.0, static_cast<double>(step) - static_cast<double>(ledger.step()));
  const double again =
      static_cast<double>(std::min(step, ledger.lost_step())) - static_cast<double>(step) + all;
  const double redone = std::clamp(again / all, 0.0, 1.0);
  shares.push_back({Goodput::kRedoneStepsFieldNumber, seconds * redone});
  shares.push_back({Goodput::kUsefulStepsFieldNumber, seconds * (1 - redone)});
}

// Reports of steps are left out where the worker's disk fills up: those before `step` that are
// missing count like it.
Shares SharesOfStep(const GoodputLedger& ledger, const StepMetrics& step, double interval) {
  const auto& phases = step.phase_seconds();
  const double steps =
      std::max(1.0, static_cast<double>(step.step()) - static_cast<double>(ledger.step()));
  const double seconds = std::max(0.0, Sane(step.step_seconds()) - Sane(phases.checkpoint()));
  const double data = std::min(seconds, Sane(phases.data()));
  const double communication = std::min(seconds - data, Sane(phases.communicate()));
  Shares shares = {{Goodput::kDataWaitFieldNumber, steps * data},
                   {Goodput::kCommunicationFieldNumber, steps * communication}};
  AddComputing(ledger, step.step(), steps * (seconds - data - communication), shares);
  // A wait for a checkpoint lies in this interval, or before the report of the checkpoint itself.
  const double rest = std::max(0.0, interval - steps * seconds);
  const double stall = std::min(rest, Sane(phases.checkpoint()));
  shares.push_back({Goodput::kCheckpointStallFieldNumber, stall});
  shares.push_back({Goodput::kIdleFieldNumber, rest - stall});
  return shares;
}

// Something that took `seconds` after `step`. Steps before it that were not reported took the rest.
Shares SharesBetweenSteps(const GoodputLedger& ledger, int bucket, int64_t step, double seconds,
                          double interval) {
  if (step <= ledger.step()) return {{bucket, 1}};
  Shares shares;
  AddComputing(ledger, step, std::max(0.0, interval - Sane(seconds)), shares);
  shares.push_back({bucket, std::min(Sane(seconds), interval)});
  return shares;
}

int64_t StepOf(const TrainerEvent& report) {
  switch (report.event_case()) {
    case TrainerEvent::kTrainingStarted:
      return std::max<int64_t>(1, report.training_started().first_step()) - 1;
    case TrainerEvent::kStep:
      return report.step().step();
    case TrainerEvent::kEvaluation:
      return report.evaluation().step();
    case TrainerEvent::kCheckpointSaved:
      return report.checkpoint_saved().step();
    case TrainerEvent::kFinished:
      return report.finished().step();
    default:
      return 0;
  }
}

// Empty where a report says nothing of the time before it: a warning may come amid a step, and an
// error after a long silence.
Shares SharesOf(const JobRecord& record, const TrainerEvent& report, double interval) {
  const GoodputLedger& ledger = record.ledger();
  switch (report.event_case()) {
    case TrainerEvent::kTrainingStarted:
      return {{StartBucket(record), 1}};
    case TrainerEvent::kStep:
      return SharesOfStep(ledger, report.step(), interval);
    case TrainerEvent::kEvaluation:
      return SharesBetweenSteps(ledger, Goodput::kEvaluationFieldNumber, StepOf(report),
                                report.evaluation().seconds(), interval);
    case TrainerEvent::kFieldHealth:
      return {{Goodput::kEvaluationFieldNumber, 1}};
    case TrainerEvent::kCheckpointSaved:
      // The step loop went on meanwhile: the next step tells how long it waited.
      if (report.checkpoint_saved().write_seconds() > report.checkpoint_saved().seconds())
        return {};
      return SharesBetweenSteps(ledger, Goodput::kCheckpointStallFieldNumber, StepOf(report),
                                report.checkpoint_saved().seconds(), interval);
    case TrainerEvent::kFinished:
      return SharesBetweenSteps(ledger, Goodput::kIdleFieldNumber, StepOf(report), 0, interval);
    case TrainerEvent::kCheckpointFailed:
    case TrainerEvent::kWarning:
    case TrainerEvent::kFailure:
    case TrainerEvent::kOutput:
    case TrainerEvent::EVENT_NOT_SET:
      return {};
  }
  return {};
}

// The time since rank 0's last report, by its own clock where it tells it.
int64_t TakeInterval(JobRecord& record, const TrainerEvent& report) {
  const int64_t uptime = std::lround(1000 * Sane(report.uptime_seconds()));
  if (uptime == 0) return Silence(record);
  GoodputLedger& ledger = *record.mutable_ledger();
  const int64_t since = std::max<int64_t>(0, uptime - ledger.uptime_ms());
  ledger.set_uptime_ms(std::max(uptime, ledger.uptime_ms()));
  return std::min(since, Silence(record));
}

}  // namespace

void CountHeld(JobRecord& record, absl::Time now) {
  GoodputLedger& ledger = *record.mutable_ledger();
  const int64_t now_ms = absl::ToUnixMillis(now);
  const int64_t since =
      ledger.has_as_of_ms() ? std::max<int64_t>(0, now_ms - ledger.as_of_ms()) : 0;
  ledger.set_as_of_ms(now_ms);
  const auto state = record.job().state();
  const bool given_up = state == wavefield::v1::JOB_STATE_SUCCEEDED ||
                        state == wavefield::v1::JOB_STATE_CANCELLED ||
                        state == wavefield::v1::JOB_STATE_PAUSED;
  const int afterwards = given_up ? Goodput::kIdleFieldNumber : Goodput::kRecoveryFieldNumber;
  for (TaskRecord& task : *record.mutable_tasks()) {
    if (task.ended()) continue;
    task.set_held_ms(task.held_ms() + since);
    if (!IsOfAttempt(record, task)) {
      Account(record, task, Unaccounted(task), {{afterwards, 1}});
    }
  }
}

void CountAttemptStart(JobRecord& record, absl::Time now) {
  GoodputLedger& ledger = *record.mutable_ledger();
  const int64_t lost = std::max(ledger.lost_step(), record.job().last_step().step());
  ledger.Clear();
  ledger.set_lost_step(lost);
  ledger.set_as_of_ms(absl::ToUnixMillis(now));
}

void CountReport(JobRecord& record, const TrainerEvent& report, absl::Time now) {
  CountHeld(record, now);
  if (SharesOf(record, report, 0).empty()) return;
  const int64_t interval = TakeInterval(record, report);
  const Shares shares = SharesOf(record, report, static_cast<double>(interval) / 1000);
  for (TaskRecord& task : *record.mutable_tasks()) {
    if (IsOfAttempt(record, task)) Account(record, task, interval, shares);
  }
  GoodputLedger& ledger = *record.mutable_ledger();
  const int64_t silence = Silence(record);
  ledger.set_lead_ms(ledger.has_lead_ms() ? std::min(ledger.lead_ms(), silence) : silence);
  if (!report.has_training_started()) {
    const double steps =
        std::max(1.0, static_cast<double>(StepOf(report)) - static_cast<double>(ledger.step()));
    const double limit =
        static_cast<double>(interval) * (report.has_step() ? std::max(1.0, kHangSteps / steps) : 1);
    ledger.set_longest_silence_ms(std::max(ledger.longest_silence_ms(), std::lround(limit)));
  }
  ledger.set_step(std::max(ledger.step(), StepOf(report)));
}

void CountAttemptEnd(JobRecord& record, AttemptEnd end) {
  const int start = StartBucket(record);
  int tail = Goodput::kRecoveryFieldNumber;
  if (!record.training_started()) {
    tail = start;
  } else if ((end == AttemptEnd::kFailed || end == AttemptEnd::kStopped) &&
             IsSilentForTooLong(record)) {
    tail = Goodput::kHangFieldNumber;
  } else if (end == AttemptEnd::kClean || end == AttemptEnd::kStopped) {
    tail = Goodput::kIdleFieldNumber;
  }
  for (TaskRecord& task : *record.mutable_tasks()) {
    if (!IsOfAttempt(record, task)) continue;
    Account(record, task, record.ledger().lead_ms(), {{start, 1}});
    Account(record, task, Unaccounted(task), {{tail, 1}});
  }
}

Goodput GoodputAt(JobRecord record, absl::Time now) {
  CountHeld(record, now);
  const bool trains = record.training_started() && !IsSilentForTooLong(record);
  if (HasAttempt(record.job().state()) && !trains) CountAttemptEnd(record, AttemptEnd::kFailed);
  return record.job().goodput();
}

}  // namespace wavefield::coordinator
