#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_follower.h"
#include "cli/job_verbs.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/real_range.h"
#include "cli/resource_names.h"
#include "cli/views/job_view.h"
#include "cli/views/jobs_progress.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string state;
  std::string filter;
  std::string order_by;
  int limit = 0;
  bool follow = false;
  double reconnect_seconds = 300;
  OutputFlags output;
};

absl::StatusOr<std::string> BuildFilter(const Flags& flags) {
  if (flags.state.empty()) return flags.filter;
  WF_ASSIGN_OR_RETURN(const std::string state, ParseStateName(flags.state));
  return "state=" + state + (flags.filter.empty() ? "" : " AND " + flags.filter);
}

absl::StatusOr<int> Follow(const Session& session, const std::string& filter, const Flags& flags) {
  JobsProgress progress(flags.output.Style().colors);
  const auto show = [&](const v1::WatchJobsResponse& update) {
    if (flags.output.json()) {
      std::printf("%s\n", ToJson(update).c_str());
      std::fflush(stdout);
    } else {
      progress.Show(update);
    }
  };
  return FollowJobs(
      session, filter, absl::Seconds(flags.reconnect_seconds), show,
      [&](const absl::Status& why) { progress.ShowLostConnection(std::string(why.message())); });
}

absl::StatusOr<int> List(const Session& session, const std::string& filter, const Flags& flags) {
  v1::ListJobsRequest request;
  request.set_filter(filter);
  request.set_order_by(flags.order_by);
  WF_ASSIGN_OR_RETURN(
      const v1::ListJobsResponse all,
      ListUpTo(session, &v1::JobService::Stub::ListJobs, request, flags.limit,
               [](v1::ListJobsResponse& response) { return response.mutable_jobs(); }));
  if (flags.output.json()) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (flags.output.names()) {
    for (const v1::Job& job : all.jobs()) PrintId(ResourceId(job.name()));
  } else if (all.jobs().empty()) {
    std::fprintf(stderr, "No jobs%s. Submit one with 'wavefield submit'.\n",
                 filter.empty()         ? ""
                 : flags.filter.empty() ? " in that state"
                                        : " that match the filter");
  } else {
    std::printf("%s",
                FormatJobs({all.jobs().begin(), all.jobs().end()}, flags.output.Style()).c_str());
  }
  return kExitSuccess;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string filter, BuildFilter(flags));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return flags.follow ? Follow(session, filter, flags) : List(session, filter, flags);
}

}  // namespace

void AddJobsCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("jobs", "List jobs, newest first");
  command->add_option("--state", flags->state,
                      "only jobs in this state: queued, running, paused, failed …");
  AddJobFilterFlag(*command, flags->filter);
  CLI::Option* order = command->add_option(
      "--order-by", flags->order_by,
      "create_time, end_time, name, priority, step, loss or evaluation_loss; 'step desc' for the "
      "other way");
  CLI::Option* limit = AddLimitFlag(*command, flags->limit);
  CLI::Option* follow = command->add_flag("--follow,-f", flags->follow,
                                          "go on with a line for each change, until interrupted");
  follow->excludes(order)->excludes(limit);
  command
      ->add_option("--reconnect-seconds", flags->reconnect_seconds,
                   "with --follow, how long to look for a coordinator that went away")
      ->capture_default_str()
      ->check(RealRange(0, 1e6));
  AddListOutputFlags(*command, flags->output,
                     "a ListJobsResponse, with --follow each WatchJobsResponse,");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
