#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/confirmation.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/resource_names.h"
#include "cli/views/checkpoint_view.h"
#include "cli/views/display_text.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

using Stub = v1::CheckpointService::Stub;

struct Flags {
  std::vector<std::string> targets;  // checkpoints; with a filter at most one job
  std::string filter;
  bool dry_run = false;
  bool yes = false;
  OutputFlags output;
};

std::string Question(const v1::DeleteCheckpointsResponse& decisions) {
  int64_t count = 0, bytes = 0;
  for (const v1::CheckpointDecision& decision : decisions.decisions()) {
    if (!decision.removed()) continue;
    ++count;
    bytes += decision.checkpoint().bytes();
  }
  return fmt::format("Remove {} checkpoint{}, {}, for good?", count, count == 1 ? "" : "s",
                     FormatBytes(static_cast<double>(bytes)));
}

bool AnyRemoved(const v1::DeleteCheckpointsResponse& decisions) {
  return std::any_of(decisions.decisions().begin(), decisions.decisions().end(),
                     [](const v1::CheckpointDecision& decision) { return decision.removed(); });
}

bool AllRemoved(const v1::DeleteCheckpointsResponse& decisions) {
  return std::all_of(decisions.decisions().begin(), decisions.decisions().end(),
                     [](const v1::CheckpointDecision& decision) { return decision.removed(); });
}

// A line for each, on stderr for those that are still there.
void PrintOutcome(const v1::DeleteCheckpointsResponse& decisions) {
  for (const v1::CheckpointDecision& decision : decisions.decisions()) {
    const std::string name = OnOneLine(ShortCheckpointName(decision.checkpoint().name()));
    if (decision.removed()) {
      std::printf("%s removed\n", name.c_str());
    } else {
      std::fprintf(stderr, "%s not removed: %s\n", name.c_str(),
                   OnOneLine(decision.reason()).c_str());
    }
  }
}

void Print(const v1::DeleteCheckpointsResponse& decisions, bool would, std::FILE* stream,
           const OutputFlags& output) {
  std::fprintf(stream, "%s",
               FormatDecisions({decisions.decisions().begin(), decisions.decisions().end()}, would,
                               output.Style(stream))
                   .c_str());
  if (decisions.more()) {
    std::fprintf(stderr, "There are more; they are left for another call of this command.\n");
  }
}

// What would become of the checkpoints that were named, each once.
absl::StatusOr<v1::DeleteCheckpointsResponse> ExamineNamed(const Session& session,
                                                           const Flags& flags) {
  v1::DeleteCheckpointsResponse decisions;
  std::set<std::string> named;
  for (const std::string& target : flags.targets) {
    if (!NamesCheckpoint(target)) {
      return absl::InvalidArgumentError(fmt::format(
          "'{0}' names no checkpoint: write {0}@STEP, or remove several of the job with --filter",
          target));
    }
    WF_ASSIGN_OR_RETURN(const v1::Checkpoint found, FindCheckpoint(session, target));
    if (!named.insert(found.name()).second) continue;
    const absl::StatusOr<v1::Checkpoint> allowed = DeleteCheckpoint(session, found.name(), true);
    if (!allowed.ok() && !absl::IsFailedPrecondition(allowed.status())) return allowed.status();
    v1::CheckpointDecision& decision = *decisions.add_decisions();
    *decision.mutable_checkpoint() = found;
    decision.set_removed(allowed.ok());
    decision.set_reason(allowed.ok() ? "named" : std::string(allowed.status().message()));
  }
  return decisions;
}

absl::StatusOr<int> DeleteNamed(const Session& session, const Flags& flags) {
  WF_ASSIGN_OR_RETURN(v1::DeleteCheckpointsResponse decisions, ExamineNamed(session, flags));
  const bool json = flags.output.json();
  const bool all = AllRemoved(decisions);
  if (!json || !(flags.dry_run || flags.yes)) {
    Print(decisions, true, flags.dry_run ? stdout : stderr, flags.output);
  }
  absl::Status outcome;
  if (!flags.dry_run && all) {
    WF_RETURN_IF_ERROR(ConfirmDestruction(Question(decisions), flags.yes));
    outcome = RemoveAsShown(session, *decisions.mutable_decisions());
    if (!json) PrintOutcome(decisions);
  }
  if (json) std::printf("%s", ToJson(decisions, true).c_str());
  WF_RETURN_IF_ERROR(outcome);
  if (!flags.dry_run && !all) std::fprintf(stderr, "Nothing was removed.\n");
  return AllRemoved(decisions) ? kExitSuccess : kExitFailed;
}

absl::StatusOr<int> DeleteSelected(const Session& session, const Flags& flags) {
  v1::DeleteCheckpointsRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_parent(),
                      ParseCheckpointParent(flags.targets.empty() ? "" : flags.targets[0]));
  request.set_filter(flags.filter);
  request.set_validate_only(true);
  WF_ASSIGN_OR_RETURN(v1::DeleteCheckpointsResponse decisions,
                      session.Call(&Stub::DeleteCheckpoints, request));
  const bool json = flags.output.json();
  if (decisions.decisions().empty()) {
    std::fprintf(stderr, "No checkpoint matches the filter.\n");
  } else if (!json || !(flags.dry_run || flags.yes)) {
    Print(decisions, true, flags.dry_run ? stdout : stderr, flags.output);
  }
  absl::Status outcome;
  if (!flags.dry_run && AnyRemoved(decisions)) {
    WF_RETURN_IF_ERROR(ConfirmDestruction(Question(decisions), flags.yes));
    if (flags.yes) {
      request.set_validate_only(false);
      request.set_request_id(NewRequestId());
      WF_ASSIGN_OR_RETURN(decisions, session.Call(&Stub::DeleteCheckpoints, request));
    } else {
      outcome = RemoveAsShown(session, *decisions.mutable_decisions());
    }
    if (!json) Print(decisions, false, stdout, flags.output);
  }
  if (json) std::printf("%s", ToJson(decisions, true).c_str());
  WF_RETURN_IF_ERROR(outcome);
  return kExitSuccess;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  if (flags.targets.empty() && flags.filter.empty()) {
    return absl::InvalidArgumentError(
        "name the checkpoints to remove (JOB@STEP), or select them with --filter");
  }
  if (!flags.filter.empty() && flags.targets.size() > 1) {
    return absl::InvalidArgumentError("with --filter at most one job can be named");
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return flags.filter.empty() ? DeleteNamed(session, flags) : DeleteSelected(session, flags);
}

}  // namespace

void AddCheckpointsDeleteCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "delete", "Remove checkpoints; those that are pinned or needed are refused, with the reason");
  command->add_option("CHECKPOINT", flags->targets,
                      "JOB@STEP, any number of them; with --filter, the job to look at (default: "
                      "all)");
  AddCheckpointFilterFlag(*command, flags->filter);
  command->add_flag("--dry-run", flags->dry_run, "only say what would be done");
  command->add_flag("--yes,-y", flags->yes, "do not ask");
  AddOutputFlags(*command, flags->output, "a DeleteCheckpointsResponse");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
