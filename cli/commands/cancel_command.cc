#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_follower.h"
#include "cli/job_view.h"
#include "cli/resource_names.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  bool wait = false;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::CancelJobRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseJobName(flags.job));
  request.set_request_id(NewRequestId());
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(v1::Job job, session.Call(&v1::JobService::Stub::CancelJob, request));
  if (flags.wait && !HasEnded(job)) {
    WF_ASSIGN_OR_RETURN(job, FollowJob(
                                 session, request.name(), FollowOptions(),
                                 [](const v1::WatchJobResponse&) {}, [](const absl::Status&) {}));
  }
  if (flags.json) {
    std::printf("%s", ToJson(job, true).c_str());
  } else {
    std::printf("%s %s%s%s\n", ResourceId(job.name()).c_str(), StateName(job.state()).c_str(),
                job.state_message().empty() ? "" : ": ", job.state_message().c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCancelCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("cancel", "Stop a job; it writes a last checkpoint first");
  command->add_option("JOB", flags->job, "its name")->required();
  command->add_flag("--wait", flags->wait, "until the job has ended");
  command->add_flag("--json", flags->json, "print the Job as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
