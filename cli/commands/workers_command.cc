#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/worker_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {
namespace {

absl::StatusOr<int> Run(const OutputFlags& output, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListWorkersResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::WorkerService::Stub::ListWorkers,
                                 v1::ListWorkersRequest(),
                                 [&](const v1::ListWorkersResponse& page) {
                                   all.mutable_workers()->MergeFrom(page.workers());
                                 }));
  if (output.json()) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (output.names()) {
    for (const auto& worker : all.workers()) PrintId(ResourceId(worker.name()));
  } else if (all.workers().empty()) {
    std::fprintf(stderr, "No workers. Start 'wavefield-worker' on the hosts that shall train.\n");
  } else {
    std::printf("%s", FormatWorkers(all, output.Style()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

CLI::App& AddWorkersCommand(CLI::App& parent, CommandContext& context) {
  const auto output = std::make_shared<OutputFlags>();
  CLI::App* command = parent.add_subcommand(
      "workers", "List the hosts that train; a command below it takes one out of service");
  AddListOutputFlags(*command, *output, "a ListWorkersResponse");
  context.OnGroup(command, [&context, output] { return Run(*output, context.connection); });
  return *command;
}

}  // namespace wavefield
