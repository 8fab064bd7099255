#include <cstdio>
#include <memory>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/resource_names.h"
#include "cli/views/checkpoint_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string target;
  OutputFlags output;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::GetLineageRequest request;
  const bool job = !NamesCheckpoint(flags.target);
  WF_ASSIGN_OR_RETURN(*request.mutable_name(),
                      job ? ParseJobName(flags.target) : ParseCheckpointName(flags.target));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  if (!job) {
    WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint, FindCheckpoint(session, flags.target));
    request.set_name(checkpoint.name());
  }
  WF_ASSIGN_OR_RETURN(const v1::Lineage lineage,
                      session.Call(&v1::CheckpointService::Stub::GetLineage, request));
  if (flags.output.json()) {
    std::printf("%s", ToJson(lineage, true).c_str());
  } else if (lineage.nodes().empty()) {
    std::fprintf(stderr, "%s has no checkpoints yet.\n", ResourceId(request.name()).c_str());
  } else {
    std::printf("%s", FormatLineage(lineage, request.name(), flags.output.Style()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsLineageCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "lineage", "Draw where a checkpoint comes from and what came of it: attempts and forks");
  command->add_option("JOB", flags->target, "JOB (all of its checkpoints) or JOB@STEP")->required();
  AddOutputFlags(*command, flags->output, "the Lineage");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
