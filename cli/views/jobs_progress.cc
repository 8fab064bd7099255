#include "cli/views/jobs_progress.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/job_view.h"
#include "core/base/clock.h"

namespace wavefield {
namespace {

constexpr absl::Duration kStepInterval = absl::Seconds(2);

}  // namespace

void JobsProgress::Show(const v1::WatchJobsResponse& update) {
  for (const v1::Job& job : update.jobs()) ShowJob(job);
  for (const std::string& name : update.removed()) {
    if (shown_.erase(name) == 0) continue;
    std::printf("%s  is gone\n", OnOneLine(ResourceId(name)).c_str());
  }
  std::fflush(stdout);
}

void JobsProgress::ShowJob(const v1::Job& job) {
  Shown& shown = shown_[job.name()];
  const absl::Duration now = Clock::Real().Monotonic();
  const std::string state_line = FormatJobLine(job);
  const int64_t step = job.last_step().step();
  const bool steps_on = step != shown.step && now - shown.at >= kStepInterval;
  if (state_line == shown.state_line && !steps_on) return;
  shown = {.state_line = state_line, .step = step, .at = now};

  const std::string why = WhyInState(job);
  std::string line = fmt::format(
      "{}  {}", OnOneLine(ResourceId(job.name())),
      colors_ ? Colored(StateName(job.state()), StateColor(job.state())) : StateName(job.state()));
  if (job.has_last_step()) {
    line += fmt::format("  step {}{}  {}", FormatInteger(step),
                        job.max_steps() > 0 ? "/" + FormatInteger(job.max_steps()) : "",
                        FormatStep(job.last_step(), job.last_step().tokens_per_second()));
  }
  if (!why.empty()) line += "  " + OnOneLine(why);
  std::printf("%s\n", line.c_str());
}

void JobsProgress::ShowLostConnection(const std::string& reason) {
  std::fprintf(stderr, "connection lost, trying to get it back: %s\n", OnOneLine(reason).c_str());
}

}  // namespace wavefield
