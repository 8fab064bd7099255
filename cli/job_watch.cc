#include "cli/job_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "absl/time/clock.h"
#include "cli/exit_code.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/job_progress.h"
#include "cli/views/live_watch.h"
#include "cli/views/terminal.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

int ExitCodeOf(const v1::Job& job) {
  return job.state() == v1::JOB_STATE_SUCCEEDED ? kExitSuccess : kExitJobFailed;
}

// The job and its last steps as they are now.
absl::StatusOr<LiveState> FetchLiveState(const Session& session, const std::string& name) {
  LiveState state;
  v1::GetJobRequest request;
  request.set_name(name);
  WF_ASSIGN_OR_RETURN(state.job, session.Call(&v1::JobService::Stub::GetJob, request));
  v1::ListMetricsRequest history;
  history.set_parent(name);
  const int64_t first = state.job.last_step().step() - int64_t{LiveState::kRecentSteps};
  history.set_after_step(std::max<int64_t>(0, first));
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::JobService::Stub::ListMetrics, history,
                                 [&](const v1::ListMetricsResponse& page) {
                                   for (const v1::StepMetrics& step : page.steps()) {
                                     state.AddStep(step);
                                   }
                                 }));
  state.last_step_at = absl::Now();
  return state;
}

absl::StatusOr<int> WatchLive(const Session& session, const std::string& name,
                              const FollowOptions& options) {
  WF_ASSIGN_OR_RETURN(LiveState state, FetchLiveState(session, name));
  LiveWatch watch(std::move(state));
  WF_ASSIGN_OR_RETURN(
      const v1::Job job,
      FollowJob(
          session, name, options, [&](const v1::WatchJobResponse& update) { watch.Show(update); },
          [&](const absl::Status& status) {
            watch.ShowLostConnection(std::string(status.message()));
          }));
  watch.Finish(job);
  return ExitCodeOf(job);
}

}  // namespace

absl::StatusOr<int> WatchJob(const Session& session, const std::string& name,
                             const FollowOptions& options, WatchForm form) {
  const std::string id = ResourceId(name);
  SetInterruptNotice(
      fmt::format("the job goes on; watch it again with 'wavefield watch {0}', stop it with "
                  "'wavefield cancel {0}'",
                  id));
  if (form == WatchForm::kLive && IsTerminal(stdout) && TerminalHasCursor()) {
    return WatchLive(session, name, options);
  }
  const bool json = form == WatchForm::kJson;
  JobProgress progress;
  const auto show = [&](const v1::WatchJobResponse& update) {
    if (json) {
      std::printf("%s\n", ToJson(update).c_str());
      std::fflush(stdout);
    } else {
      progress.Show(update);
    }
  };
  const auto lost = [&](const absl::Status& status) {
    if (!json) progress.ShowLostConnection(std::string(status.message()));
  };
  WF_ASSIGN_OR_RETURN(const v1::Job job, FollowJob(session, name, options, show, lost));
  if (!json) progress.Finish(job);
  return ExitCodeOf(job);
}

}  // namespace wavefield
