#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/confirmation.h"
#include "cli/exit_code.h"
#include "cli/job_follower.h"
#include "cli/job_verbs.h"
#include "cli/output_form.h"
#include "cli/views/job_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::vector<std::string> jobs;
  std::string filter;
  bool wait = false;
  bool dry_run = false;
  bool yes = false;
  OutputFlags output;
};

absl::StatusOr<v1::Job> AwaitEnd(const Session& session, const std::string& name) {
  return FollowJob(
      session, name, FollowOptions(), [](const v1::WatchJobResponse&) {},
      [](const absl::Status&) {});
}

absl::StatusOr<int> CancelNamed(const Session& session, const Flags& flags,
                                const std::vector<std::string>& names) {
  const JobVerb cancel = [&](const std::string& name) -> absl::StatusOr<v1::Job> {
    WF_ASSIGN_OR_RETURN(v1::Job job, CallForJob(session, &v1::JobService::Stub::CancelJob, name));
    return flags.wait && !HasEnded(job) ? AwaitEnd(session, name) : job;
  };
  return ApplyToJobs(names, flags.output.json(), cancel, "", /*list=*/!flags.filter.empty());
}

absl::StatusOr<int> CancelSelected(const Session& session, const Flags& flags) {
  v1::CancelJobsRequest request;
  request.set_filter(flags.filter);
  request.set_validate_only(true);
  WF_ASSIGN_OR_RETURN(v1::CancelJobsResponse selected,
                      session.Call(&v1::JobService::Stub::CancelJobs, request));
  const int count = selected.jobs_size();
  if (count == 0) {
    std::fprintf(stderr, "No job that has not ended matches the filter.\n");
  } else if (!flags.output.json() || !(flags.dry_run || flags.yes)) {
    std::FILE* const stream = flags.dry_run ? stdout : stderr;
    std::fprintf(
        stream, "%s",
        FormatJobs({selected.jobs().begin(), selected.jobs().end()}, flags.output.Style(stream))
            .c_str());
  }
  if (!flags.dry_run && count > 0) {
    WF_RETURN_IF_ERROR(ConfirmDestruction(
        fmt::format("Cancel {} job{}?", count, count == 1 ? "" : "s"), flags.yes));
    if (!flags.yes) {
      // Those that were shown, and none that has come to match the filter since.
      std::vector<std::string> names;
      for (const v1::Job& job : selected.jobs()) names.push_back(job.name());
      return CancelNamed(session, flags, names);
    }
    request.set_validate_only(false);
    request.set_request_id(NewRequestId());
    WF_ASSIGN_OR_RETURN(selected, session.Call(&v1::JobService::Stub::CancelJobs, request));
    for (v1::Job& job : *selected.mutable_jobs()) {
      if (flags.wait && !HasEnded(job)) {
        WF_ASSIGN_OR_RETURN(job, AwaitEnd(session, job.name()));
      }
      if (!flags.output.json()) std::printf("%s\n", FormatJobLine(job).c_str());
    }
  }
  if (flags.output.json()) std::printf("%s", ToJson(selected, true).c_str());
  return kExitSuccess;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  if (flags.jobs.empty() == flags.filter.empty()) {
    return absl::InvalidArgumentError(
        "name the jobs to cancel, or select them with --filter: one of the two");
  }
  if (flags.dry_run && flags.filter.empty()) {
    return absl::InvalidArgumentError("--dry-run shows what a --filter selects; there is none");
  }
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseJobNames(flags.jobs));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return names.empty() ? CancelSelected(session, flags) : CancelNamed(session, flags, names);
}

}  // namespace

void AddCancelCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("cancel", "Stop jobs; each writes a last checkpoint first");
  command->add_option("JOB", flags->jobs, "names of jobs");
  AddJobFilterFlag(*command, flags->filter);
  command->add_flag("--dry-run", flags->dry_run, "only show the jobs that the filter selects");
  command->add_flag("--yes,-y", flags->yes, "do not ask before what a filter selects is cancelled");
  command->add_flag("--wait", flags->wait, "until the jobs have ended");
  AddOutputFlags(*command, flags->output, "the Job, or of several a message with the list `jobs`,");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
