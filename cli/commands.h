#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace wavefield {

// What the commands share: the connection's flags, and which command was asked for.
class CommandContext {
 public:
  // What a command does once flags are parsed: its exit code, or the error that is shown.
  using Action = std::function<absl::StatusOr<int>()>;

  ConnectionFlags connection;

  // `action` is what runs when the user names `command`.
  void OnCommand(CLI::App* command, Action action) {
    command->callback([this, action = std::move(action)] { chosen_ = action; });
  }
  // `group` has commands of its own; naming it without one of them shows its help.
  void OnGroup(CLI::App* group) {
    OnGroup(group, [group] { return ShowUsage(*group); });
  }
  // The same, where naming it without one of them runs `action`.
  void OnGroup(CLI::App* group, Action action) {
    group->require_subcommand(0, 1);
    group->callback([this, group, action = std::move(action)] {
      if (group->get_subcommands().empty()) chosen_ = action;
    });
  }
  absl::StatusOr<int> RunChosen() const { return chosen_(); }

 private:
  static int ShowUsage(const CLI::App& app);

  Action chosen_;
};

// Each adds its command to `parent`; one file of cli/commands/ for a command, or for a few that
// belong together. `context` must outlive the parse and the run.
void AddUpCommand(CLI::App& parent, CommandContext& context);
void AddDataPrepareCommand(CLI::App& parent, CommandContext& context);
void AddDataImportCommand(CLI::App& parent, CommandContext& context);
void AddDataListCommand(CLI::App& parent, CommandContext& context);
void AddDataShowCommand(CLI::App& parent, CommandContext& context);
void AddSubmitCommand(CLI::App& parent, CommandContext& context);
void AddJobsCommand(CLI::App& parent, CommandContext& context);
void AddJobCommand(CLI::App& parent, CommandContext& context);
void AddWatchCommand(CLI::App& parent, CommandContext& context);
void AddLogsCommand(CLI::App& parent, CommandContext& context);
void AddExplainCommand(CLI::App& parent, CommandContext& context);
void AddQueueCommand(CLI::App& parent, CommandContext& context);
void AddUpdateCommand(CLI::App& parent, CommandContext& context);
void AddPauseCommand(CLI::App& parent, CommandContext& context);
void AddResumeCommand(CLI::App& parent, CommandContext& context);
void AddCancelCommand(CLI::App& parent, CommandContext& context);
void AddDeleteCommand(CLI::App& parent, CommandContext& context);
void AddMetricsCommand(CLI::App& parent, CommandContext& context);
void AddPlotCommand(CLI::App& parent, CommandContext& context);
void AddReportCommand(CLI::App& parent, CommandContext& context);
void AddGoodputCommand(CLI::App& parent, CommandContext& context);
void AddCompareCommand(CLI::App& parent, CommandContext& context);
// Lists them; returns the group for what follows.
CLI::App& AddWorkersCommand(CLI::App& parent, CommandContext& context);
void AddWorkersCordonCommand(CLI::App& parent, CommandContext& context);
void AddWorkersUncordonCommand(CLI::App& parent, CommandContext& context);
void AddWorkersDrainCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsListCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsShowCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsPinCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsUnpinCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsNoteCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsVerifyCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsDeleteCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsGcCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsUploadCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsDiffCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsLineageCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsDownloadCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsExportCommand(CLI::App& parent, CommandContext& context);
void AddCheckpointsImportCommand(CLI::App& parent, CommandContext& context);
void AddEvaluateCommand(CLI::App& parent, CommandContext& context);
void AddGenerateCommand(CLI::App& parent, CommandContext& context);
void AddAuditCausalityCommand(CLI::App& parent, CommandContext& context);
void AddAuditLogCommand(CLI::App& parent, CommandContext& context);
void AddLoginCommand(CLI::App& parent, CommandContext& context);
void AddLogoutCommand(CLI::App& parent, CommandContext& context);
void AddProfilesListCommand(CLI::App& parent, CommandContext& context);
void AddProfilesUseCommand(CLI::App& parent, CommandContext& context);
void AddCompletionCommand(CLI::App& parent, CommandContext& context);
void AddModelPresetsCommand(CLI::App& parent, CommandContext& context);
void AddModelDescribeCommand(CLI::App& parent, CommandContext& context);

}  // namespace wavefield
