#include "cli/job_watch.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/exit_code.h"
#include "cli/job_progress.h"
#include "cli/resource_names.h"
#include "cli/terminal.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {

absl::StatusOr<int> WatchJob(const Session& session, const std::string& name,
                             const FollowOptions& options, bool json) {
  const std::string id = ResourceId(name);
  SetInterruptNotice(
      fmt::format("the job goes on; watch it again with 'wavefield watch {0}', stop it with "
                  "'wavefield cancel {0}'",
                  id));
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
  return job.state() == v1::JOB_STATE_SUCCEEDED ? kExitSuccess : kExitJobFailed;
}

}  // namespace wavefield
