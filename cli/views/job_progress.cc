#include "cli/views/job_progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/job_view.h"
#include "core/base/clock.h"
#include "core/base/text.h"

namespace wavefield {
namespace {

constexpr absl::Duration kLineInterval = absl::Seconds(2);

// Weighs the last twenty steps or so.
double Smooth(double average, double value) {
  return average > 0 ? average + 0.05 * (value - average) : value;
}

std::string StepText(const v1::Job& job, const v1::StepMetrics& step) {
  if (job.max_steps() == 0) return "step " + FormatInteger(step.step());
  return fmt::format("step {}/{}", FormatInteger(step.step()), FormatInteger(job.max_steps()));
}

}  // namespace

JobCompletion EstimateCompletion(const v1::Job& job, const v1::StepMetrics& step,
                                 double step_seconds) {
  JobCompletion completion;
  const auto consider = [&](double fraction, double remaining) {
    if (fraction <= completion.fraction) return;
    completion = {std::clamp(fraction, 0.0, 1.0), std::max(0.0, remaining)};
  };
  if (job.max_steps() > 0) {
    const double left = static_cast<double>(job.max_steps() - step.step());
    consider(static_cast<double>(step.step()) / static_cast<double>(job.max_steps()),
             left * step_seconds);
  }
  if (const double budget = 60 * job.spec().training().max_minutes(); budget > 0) {
    consider(step.trained_seconds() / budget, budget - step.trained_seconds());
  }
  return completion;
}

void JobProgress::Show(const v1::WatchJobResponse& update) {
  if (update.has_job()) ShowJob(update.job());
  for (int i = 0; i < update.steps_size(); ++i)
    ShowStep(update.steps(i), i + 1 == update.steps_size());
  for (const auto& evaluation : update.evaluations())
    Print("evaluation at " + FormatEvaluation(evaluation));
}

void JobProgress::ShowJob(const v1::Job& job) {
  job_ = job;
  const std::string reason = ReasonText(job.reason());
  std::string line = StateName(job.state());
  if (!job.state_message().empty())
    line += ": " + MessageOf(job);
  else if (!reason.empty())
    line += ": " + reason;
  if (line != state_line_ && !HasEnded(job))
    Print(fmt::format("{} {}", ResourceId(job.name()), line));
  state_line_ = line;
  if (job.warnings_size() > 0 && job.warnings(job.warnings_size() - 1) != last_warning_) {
    last_warning_ = job.warnings(job.warnings_size() - 1);
    Print("warning: " + FirstLine(last_warning_));
  }
}

void JobProgress::ShowStep(const v1::StepMetrics& step, bool newest) {
  step_ = step;
  step_shown_ = false;
  tokens_per_second_ = Smooth(tokens_per_second_, step.tokens_per_second());
  step_seconds_ = Smooth(step_seconds_, step.step_seconds());
  if (newest && Clock::Real().Monotonic() - last_line_ >= kLineInterval) PrintStep();
}

void JobProgress::ShowLostConnection(const std::string& reason) {
  Print("connection lost, trying to get it back: " + reason);
}

void JobProgress::Finish(const v1::Job& job) {
  if (!step_shown_) PrintStep();
  std::string line = fmt::format("{} {}", ResourceId(job.name()), StateName(job.state()));
  if (!job.state_message().empty()) line += ": " + MessageOf(job);
  Print(line);
  if (!job.latest_checkpoint().empty()) {
    Print("newest checkpoint: " + ShortCheckpointName(job.latest_checkpoint()));
  }
}

void JobProgress::Print(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void JobProgress::PrintStep() {
  const JobCompletion completion = EstimateCompletion(job_, step_, step_seconds_);
  Print(fmt::format("{}  {}  ETA {}", StepText(job_, step_), FormatStep(step_, tokens_per_second_),
                    FormatDuration(completion.remaining_seconds)));
  step_shown_ = true;
  last_line_ = Clock::Real().Monotonic();
}

}  // namespace wavefield
