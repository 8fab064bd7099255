#include <cstdio>
#include <memory>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/checkpoint_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  std::string filter;
  std::string order_by;
  int limit = 0;
  OutputFlags output;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::ListCheckpointsRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_parent(), ParseCheckpointParent(flags.job));
  request.set_filter(flags.filter);
  request.set_order_by(flags.order_by);
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::ListCheckpointsResponse all,
                      ListUpTo(session, &v1::CheckpointService::Stub::ListCheckpoints, request,
                               flags.limit, [](v1::ListCheckpointsResponse& response) {
                                 return response.mutable_checkpoints();
                               }));
  if (flags.output.json()) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (flags.output.names()) {
    for (const v1::Checkpoint& checkpoint : all.checkpoints()) {
      PrintId(ShortCheckpointName(checkpoint.name()));
    }
  } else if (all.checkpoints().empty()) {
    std::fprintf(stderr, "No checkpoints%s.\n",
                 flags.filter.empty() ? " yet" : " that match the filter");
  } else {
    std::printf("%s", FormatCheckpoints({all.checkpoints().begin(), all.checkpoints().end()},
                                        flags.output.Style())
                          .c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsListCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("list", "List checkpoints, newest first");
  command->add_option("JOB", flags->job, "only this job's");
  AddCheckpointFilterFlag(*command, flags->filter);
  command->add_option("--order-by", flags->order_by,
                      "create_time, step, bytes, loss, evaluation_loss or job; 'loss desc' for the "
                      "other way");
  AddLimitFlag(*command, flags->limit);
  AddListOutputFlags(*command, flags->output, "a ListCheckpointsResponse");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
