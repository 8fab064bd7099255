// wavefield: the command line.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/views/terminal.h"
#include "core/base/command_line.h"

namespace wavefield {
namespace {

CLI::App& AddGroup(CLI::App& root, CommandContext& context, const std::string& name,
                   const std::string& description) {
  CLI::App* group = root.add_subcommand(name, description);
  context.OnGroup(group);
  return *group;
}

void AddCommands(CLI::App& root, CommandContext& context) {
  AddUpCommand(root, context);
  CLI::App& data =
      AddGroup(root, context, "data", "Make datasets of text or tokens, and look at them");
  AddDataPrepareCommand(data, context);
  AddDataImportCommand(data, context);
  AddDataListCommand(data, context);
  AddDataShowCommand(data, context);
  AddSubmitCommand(root, context);
  AddJobsCommand(root, context);
  AddJobCommand(root, context);
  AddWatchCommand(root, context);
  AddLogsCommand(root, context);
  AddExplainCommand(root, context);
  AddQueueCommand(root, context);
  AddUpdateCommand(root, context);
  AddPauseCommand(root, context);
  AddResumeCommand(root, context);
  AddCancelCommand(root, context);
  AddDeleteCommand(root, context);
  AddMetricsCommand(root, context);
  AddPlotCommand(root, context);
  AddReportCommand(root, context);
  AddGoodputCommand(root, context);
  AddCompareCommand(root, context);
  CLI::App& workers = AddWorkersCommand(root, context);
  AddWorkersCordonCommand(workers, context);
  AddWorkersUncordonCommand(workers, context);
  AddWorkersDrainCommand(workers, context);
  CLI::App& checkpoints = AddGroup(root, context, "checkpoints",
                                   "List, keep, check, move, compare and remove checkpoints");
  AddCheckpointsListCommand(checkpoints, context);
  AddCheckpointsShowCommand(checkpoints, context);
  AddCheckpointsPinCommand(checkpoints, context);
  AddCheckpointsUnpinCommand(checkpoints, context);
  AddCheckpointsNoteCommand(checkpoints, context);
  AddCheckpointsVerifyCommand(checkpoints, context);
  AddCheckpointsDeleteCommand(checkpoints, context);
  AddCheckpointsGcCommand(checkpoints, context);
  AddCheckpointsUploadCommand(checkpoints, context);
  AddCheckpointsDiffCommand(checkpoints, context);
  AddCheckpointsLineageCommand(checkpoints, context);
  AddCheckpointsDownloadCommand(checkpoints, context);
  AddCheckpointsExportCommand(checkpoints, context);
  AddCheckpointsImportCommand(checkpoints, context);
  AddEvaluateCommand(root, context);
  AddGenerateCommand(root, context);
  CLI::App& audit = AddGroup(root, context, "audit",
                             "Prove that a trained model does not cheat; see who changed what");
  AddAuditCausalityCommand(audit, context);
  AddAuditLogCommand(audit, context);
  AddLoginCommand(root, context);
  AddLogoutCommand(root, context);
  CLI::App& profiles =
      AddGroup(root, context, "profiles", "How to reach several clusters ('wavefield login')");
  AddProfilesListCommand(profiles, context);
  AddProfilesUseCommand(profiles, context);
  CLI::App& model =
      AddGroup(root, context, "model", "Look at architectures, without a coordinator");
  AddModelPresetsCommand(model, context);
  AddModelDescribeCommand(model, context);
  AddCompletionCommand(root, context);
}

int RunChosen(const CommandContext& context) {
  const absl::StatusOr<int> result = context.RunChosen();
  if (result.ok()) return *result;
  PrintError(result.status());
  return ExitCodeOf(result.status());
}

}  // namespace
}  // namespace wavefield

int main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  wavefield::EndCleanlyOnInterrupt();

  wavefield::CommandLine command_line("wavefield",
                                      "Trains field-based language models as a service.");
  wavefield::CommandContext context;
  command_line.app().fallthrough();
  context.OnGroup(&command_line.app());
  command_line.app().footer(wavefield::kExitCodeHelp);
  wavefield::AddConnectionFlags(command_line.app(), context.connection);
  wavefield::AddCommands(command_line.app(), context);
  return wavefield::FinishOutput(
      command_line.Run(argc, argv, [&] { return wavefield::RunChosen(context); }));
}
