#include <cstdio>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  bool json = false;
};

std::string FormatCheckpoints(const v1::ListCheckpointsResponse& checkpoints) {
  Table table({{"CHECKPOINT"},
               {"STEP", Align::kRight},
               {"ATTEMPT", Align::kRight},
               {"LOSS", Align::kRight},
               {"EVALUATION LOSS", Align::kRight},
               {"TOKENS", Align::kRight},
               {"SIZE", Align::kRight},
               {"AGE", Align::kRight},
               {"NOTE"}});
  for (const v1::Checkpoint& checkpoint : checkpoints.checkpoints()) {
    const std::string pinned = checkpoint.pinned() ? "pinned " : "";
    table.AddRow(
        {ShortCheckpointName(checkpoint.name()), FormatInteger(checkpoint.step()),
         std::to_string(checkpoint.attempt()), FormatFixed(checkpoint.loss(), 4),
         checkpoint.evaluation_loss() == 0 ? "-" : FormatFixed(checkpoint.evaluation_loss(), 4),
         FormatInteger(checkpoint.total_tokens()),
         FormatBytes(static_cast<double>(checkpoint.bytes())),
         FormatAge(checkpoint.create_time(), absl::Now()), pinned + checkpoint.note()});
  }
  return table.ToString();
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::ListCheckpointsRequest request;
  request.set_parent("jobs/-");
  if (!flags.job.empty()) {
    WF_ASSIGN_OR_RETURN(*request.mutable_parent(), ParseJobName(flags.job));
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListCheckpointsResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::CheckpointService::Stub::ListCheckpoints, request,
                                 [&](const v1::ListCheckpointsResponse& page) {
                                   all.mutable_checkpoints()->MergeFrom(page.checkpoints());
                                 }));
  if (flags.json) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (all.checkpoints().empty()) {
    std::fprintf(stderr, "No checkpoints yet.\n");
  } else {
    std::printf("%s", FormatCheckpoints(all).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsListCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("list", "List checkpoints, newest first");
  command->add_option("JOB", flags->job, "only this job's");
  command->add_flag("--json", flags->json, "print a ListCheckpointsResponse as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
