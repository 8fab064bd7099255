#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/explanation_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

absl::StatusOr<int> Run(const OutputFlags& output, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListQueueRequest request;
  request.set_page_size(kMaxPageSize);
  v1::ListQueueResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::JobService::Stub::ListQueue, request,
                                 [&](const v1::ListQueueResponse& page) {
                                   all.mutable_entries()->MergeFrom(page.entries());
                                 }));
  if (output.json()) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (output.names()) {
    for (const auto& entry : all.entries()) PrintId(ResourceId(entry.job()));
  } else if (all.entries().empty()) {
    std::fprintf(stderr, "No job waits for slots.\n");
  } else {
    std::printf("%s", FormatQueue(all, output.Style()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddQueueCommand(CLI::App& parent, CommandContext& context) {
  const auto output = std::make_shared<OutputFlags>();
  CLI::App* command =
      parent.add_subcommand("queue", "List the jobs that wait for slots, the next one first");
  AddListOutputFlags(*command, *output, "a ListQueueResponse");
  context.OnCommand(command, [&context, output] { return Run(*output, context.connection); });
}

}  // namespace wavefield
