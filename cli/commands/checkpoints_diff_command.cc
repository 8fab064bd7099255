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
  std::string a;
  std::string b;
  OutputFlags output;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::DiffCheckpointsRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_a(), ParseCheckpointName(flags.a));
  WF_ASSIGN_OR_RETURN(*request.mutable_b(), ParseCheckpointName(flags.b));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::DiffCheckpointsResponse diff,
                      session.Call(&v1::CheckpointService::Stub::DiffCheckpoints, request));
  std::printf("%s", flags.output.json() ? ToJson(diff, true).c_str()
                                        : FormatDiff(diff, flags.output.Style()).c_str());
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsDiffCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("diff", "Compare the settings, metrics and weights of two checkpoints");
  command->add_option("CHECKPOINT", flags->a, kCheckpointHelp)->required();
  command->add_option("OTHER", flags->b, kCheckpointHelp)->required();
  AddOutputFlags(*command, flags->output, "the DiffCheckpointsResponse");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
