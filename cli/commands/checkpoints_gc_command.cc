#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/confirmation.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/views/checkpoint_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  bool dry_run = false;
  bool yes = false;
  OutputFlags output;
};

int64_t Removed(const v1::CollectGarbageResponse& garbage) {
  return std::count_if(garbage.decisions().begin(), garbage.decisions().end(),
                       [](const v1::CheckpointDecision& decision) { return decision.removed(); });
}

std::string Amount(const v1::CollectGarbageResponse& garbage) {
  const int64_t count = Removed(garbage);
  return fmt::format("{} checkpoint{}, {}", count, count == 1 ? "" : "s",
                     FormatBytes(static_cast<double>(garbage.removed_bytes())));
}

void Print(const v1::CollectGarbageResponse& garbage, bool would, std::FILE* stream,
           const OutputFlags& output) {
  const ViewStyle style = output.Style(stream);
  if (garbage.decisions_size() > 0) {
    std::fprintf(
        stream, "%s",
        FormatDecisions({garbage.decisions().begin(), garbage.decisions().end()}, would, style)
            .c_str());
  }
  if (garbage.orphans_size() > 0) {
    std::fprintf(
        stream,
        "%sDirectories in the storage that belong to no checkpoint; they are never "
        "removed:\n%s",
        garbage.decisions_size() > 0 ? "\n" : "",
        FormatOrphans({garbage.orphans().begin(), garbage.orphans().end()}, style).c_str());
  }
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::CollectGarbageRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_parent(), ParseCheckpointParent(flags.job));
  request.set_validate_only(true);
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(v1::CollectGarbageResponse garbage,
                      session.Call(&v1::CheckpointService::Stub::CollectGarbage, request));
  const bool json = flags.output.json();
  const bool remove = !flags.dry_run && Removed(garbage) > 0;
  if (!json || (remove && !flags.yes)) {
    Print(garbage, true, remove ? stderr : stdout, flags.output);
    if (Removed(garbage) == 0) std::fprintf(stderr, "There is nothing to remove.\n");
  }
  absl::Status outcome;
  if (remove) {
    WF_RETURN_IF_ERROR(
        ConfirmDestruction(fmt::format("Remove {}, for good?", Amount(garbage)), flags.yes));
    if (flags.yes) {
      request.set_validate_only(false);
      request.set_request_id(NewRequestId());
      WF_ASSIGN_OR_RETURN(garbage,
                          session.Call(&v1::CheckpointService::Stub::CollectGarbage, request));
    } else {
      outcome = RemoveAsShown(session, *garbage.mutable_decisions());
      garbage.set_removed_bytes(0);
      for (const v1::CheckpointDecision& decision : garbage.decisions()) {
        if (!decision.removed()) continue;
        garbage.set_removed_bytes(garbage.removed_bytes() + decision.checkpoint().bytes());
      }
    }
    if (!json) std::printf("removed %s\n", Amount(garbage).c_str());
  }
  if (json) std::printf("%s", ToJson(garbage, true).c_str());
  WF_RETURN_IF_ERROR(outcome);
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsGcCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "gc", "Apply the retention rules now, with a reason for each checkpoint; list orphans");
  command->add_option("JOB", flags->job, "only this job's");
  command->add_flag("--dry-run", flags->dry_run, "only say what would be done");
  command->add_flag("--yes,-y", flags->yes, "do not ask");
  AddOutputFlags(*command, flags->output, "a CollectGarbageResponse");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
