#include "coordinator/jobs/dependencies.h"

#include <fmt/format.h>

#include <algorithm>

#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/names.h"
#include "coordinator/jobs/text.h"
#include "coordinator/metrics/label_values.h"
#include "core/base/text.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Dependency;
using wavefield::v1::Job;

constexpr size_t kNamed = 5;
constexpr size_t kMaxCauseBytes = 200;

// "jobs/a is running, step 40 of 100".
std::string Describe(const Job& job) {
  std::string text = fmt::format("{} is {}", job.name(), NameOf(job.state()));
  if (job.last_step().step() > 0 && job.max_steps() > 0) {
    text += fmt::format(", step {} of {}", job.last_step().step(), job.max_steps());
  }
  return text;
}

bool MustSucceed(const Dependency& dependency) { return dependency.on() != "end"; }

}  // namespace

DependencyState CheckDependencies(const JobRecord& record, const JobLookup& lookup) {
  DependencyState state;
  const auto& after = record.job().spec().after();
  if (record.job().attempt() > 0) return state;
  std::string waiting;
  for (const Dependency& dependency : after) {
    const std::string& name = dependency.job();
    const std::optional<Job> job = lookup(IdIn(name));
    const bool ended = !job || HasEnded(job->state());
    const bool succeeded = job && job->state() == wavefield::v1::JOB_STATE_SUCCEEDED;
    if (ended && MustSucceed(dependency) && !succeeded) {
      const std::string how =
          job ? fmt::format(
                    "has {}: {}",
                    job->state() == wavefield::v1::JOB_STATE_FAILED ? "failed" : "been cancelled",
                    Shortened(FirstLine(job->state_message()), kMaxCauseBytes))
              : "does not exist any more";
      return {DependencyState::Kind::kFailed,
              fmt::format("starts after the success of {}, which {}", name, how),
              {name}};
    }
    if (ended) continue;
    if (state.jobs.size() < kNamed) {
      waiting += fmt::format("{}{}", state.jobs.empty() ? "" : "; ", Describe(*job));
    }
    state.jobs.push_back(name);
  }
  if (state.jobs.empty()) return state;
  if (state.jobs.size() > kNamed) {
    waiting += fmt::format("; and {} more", state.jobs.size() - kNamed);
  }
  state.kind = DependencyState::Kind::kWaiting;
  state.message = fmt::format("waits for the end of {} of {} job{}: {}", state.jobs.size(),
                              after.size(), after.size() == 1 ? "" : "s", waiting);
  return state;
}

bool WaitsFor(const JobRecord& record, const std::string& job_name) {
  if (HasEnded(record.job().state()) || record.job().attempt() > 0) return false;
  if (record.dependencies_met()) return false;
  const auto& after = record.job().spec().after();
  return std::any_of(after.begin(), after.end(),
                     [&](const Dependency& dependency) { return dependency.job() == job_name; });
}

}  // namespace wavefield::coordinator
