#include <memory>

#include "cli/commands.h"
#include "cli/job_verbs.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::vector<std::string> jobs;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseJobNames(flags.jobs));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return ApplyToJobs(names, flags.json, [&](const std::string& name) {
    v1::ResumeJobRequest request;
    request.set_name(name);
    request.set_request_id(NewRequestId());
    return session.Call(&v1::JobService::Stub::ResumeJob, request);
  });
}

}  // namespace

void AddResumeCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "resume", "Queue jobs again that are paused, or ended before their budget was used up");
  command->add_option("JOB", flags->jobs, "names of jobs")->required();
  command->add_flag("--json", flags->json,
                    "print the Job, or of several a message with the list `jobs`, as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
