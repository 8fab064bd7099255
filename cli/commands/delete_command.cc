#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/confirmation.h"
#include "cli/exit_code.h"
#include "cli/job_verbs.h"
#include "cli/output_form.h"
#include "cli/views/job_view.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::vector<std::string> jobs;
  bool dry_run = false;
  bool yes = false;
  OutputFlags output;
};

absl::StatusOr<v1::Job> Delete(const Session& session, const std::string& name, bool dry_run) {
  v1::DeleteJobRequest request;
  request.set_name(name);
  request.set_validate_only(dry_run);
  if (!dry_run) request.set_request_id(NewRequestId());
  return session.Call(&v1::JobService::Stub::DeleteJob, request);
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseJobNames(flags.jobs));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  const bool json = flags.output.json();
  if (flags.dry_run && json) {
    return ApplyToJobs(names, true,
                       [&](const std::string& name) { return Delete(session, name, true); });
  }
  // All of them, or none: whoever names one that cannot be deleted may have meant another.
  std::vector<v1::Job> jobs;
  int refused = kExitSuccess;
  for (const std::string& name : names) {
    absl::StatusOr<v1::Job> job = Delete(session, name, true);
    if (job.ok()) {
      jobs.push_back(*std::move(job));
      continue;
    }
    PrintError(job.status());
    if (refused == kExitSuccess) refused = ExitCodeOf(job.status());
    if (refused == kExitUnreachable) return refused;
  }
  if (!jobs.empty() && (!json || !flags.yes)) {
    std::FILE* const stream = flags.dry_run ? stdout : stderr;
    std::fprintf(stream, "%s", FormatJobs(jobs, flags.output.Style(stream)).c_str());
  }
  if (refused != kExitSuccess) {
    if (!flags.dry_run) std::fprintf(stderr, "Nothing was deleted.\n");
    return refused;
  }
  if (flags.dry_run) return kExitSuccess;
  WF_RETURN_IF_ERROR(ConfirmDestruction(
      fmt::format("Delete {} job{}, with history, logs and checkpoints, for good?", jobs.size(),
                  jobs.size() == 1 ? "" : "s"),
      flags.yes));
  return ApplyToJobs(
      names, json, [&](const std::string& name) { return Delete(session, name, false); },
      "deleted");
}

}  // namespace

void AddDeleteCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "delete", "Remove jobs that have ended, with their histories, logs and checkpoints");
  command->add_option("JOB", flags->jobs, "names of jobs")->required();
  command->add_flag("--dry-run", flags->dry_run, "only show what would be removed");
  command->add_flag("--yes,-y", flags->yes, "do not ask");
  AddOutputFlags(*command, flags->output, "the Job, or of several a message with the list `jobs`,");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
