#include <cstdio>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "cli/paging.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string state;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::ListJobsRequest request;
  if (!flags.state.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string state, ParseStateName(flags.state));
    request.set_filter("state=" + state);
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListJobsResponse all;
  WF_RETURN_IF_ERROR(
      ForEachPage(session, &v1::JobService::Stub::ListJobs, request,
                  [&](v1::ListJobsResponse page) { all.mutable_jobs()->MergeFrom(page.jobs()); }));
  if (flags.json) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (all.jobs().empty()) {
    std::fprintf(stderr, "No jobs%s. Submit one with 'wavefield submit'.\n",
                 flags.state.empty() ? "" : " in that state");
  } else {
    std::printf("%s", FormatJobs({all.jobs().begin(), all.jobs().end()}, absl::Now()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddJobsCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("jobs", "List jobs, newest first");
  command->add_option("--state", flags->state,
                      "only jobs in this state: queued, running, failed …");
  command->add_flag("--json", flags->json, "print a ListJobsResponse as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
