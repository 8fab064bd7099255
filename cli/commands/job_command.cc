#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/job_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  OutputFlags output;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::GetJobRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseJobName(flags.job));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Job job, session.Call(&v1::JobService::Stub::GetJob, request));
  if (flags.output.json()) {
    std::printf("%s", ToJson(job, true).c_str());
    return kExitSuccess;
  }
  v1::ListCheckpointsRequest checkpoints;
  checkpoints.set_parent(request.name());
  checkpoints.set_page_size(kMaxPageSize);
  int64_t count = 0;
  WF_RETURN_IF_ERROR(ForEachPage(
      session, &v1::CheckpointService::Stub::ListCheckpoints, checkpoints,
      [&](const v1::ListCheckpointsResponse& page) { count += page.checkpoints_size(); }));
  std::printf("%s", FormatJob(job, count, flags.output.Style()).c_str());
  return kExitSuccess;
}

}  // namespace

void AddJobCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("job", "Show one job in full");
  command->add_option("JOB", flags->job, "its name")->required();
  AddOutputFlags(*command, flags->output, "the Job");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
