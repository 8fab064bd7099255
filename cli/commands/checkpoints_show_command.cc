#include <cstdio>
#include <memory>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/views/checkpoint_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

struct Flags {
  std::string checkpoint;
  OutputFlags output;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint, FindCheckpoint(session, flags.checkpoint));
  std::printf("%s", flags.output.json()
                        ? ToJson(checkpoint, true).c_str()
                        : FormatCheckpoint(checkpoint, flags.output.Style()).c_str());
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsShowCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("show", "Show one checkpoint in full");
  command->add_option("CHECKPOINT", flags->checkpoint, kCheckpointHelp)->required();
  AddOutputFlags(*command, flags->output, "the Checkpoint");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
