#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/progress_bar.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string checkpoint;
  bool json = false;
};

absl::StatusOr<v1::VerifyCheckpointResponse> Verify(const Session& session,
                                                    const std::string& name) {
  v1::VerifyCheckpointRequest request;
  request.set_name(name);
  v1::CheckpointService::Stub stub(session.channel());
  grpc::ClientContext context;
  session.PrepareStream(context);
  const auto reader = stub.VerifyCheckpoint(&context, request);
  ProgressBar bar(stderr);
  v1::VerifyCheckpointResponse response;
  while (reader->Read(&response)) {
    bar.DrawBytes(response.verified_bytes(), response.total_bytes());
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return session.ToError(status);
  if (response.has_checkpoint()) return response;
  return absl::InternalError("the coordinator ended the verification without its outcome");
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint, FindCheckpoint(session, flags.checkpoint));
  WF_ASSIGN_OR_RETURN(const v1::VerifyCheckpointResponse outcome,
                      Verify(session, checkpoint.name()));
  const std::string& damage = outcome.checkpoint().damage();
  if (flags.json) {
    std::printf("%s", ToJson(outcome, true).c_str());
  } else {
    const std::string size = FormatBytes(static_cast<double>(outcome.total_bytes()));
    const std::string line = damage.empty()
                                 ? fmt::format("all {} files are as they were written, {}",
                                               checkpoint.files_size(), size)
                                 : "DAMAGED: " + damage;
    std::printf("%s %s\n", OnOneLine(ShortCheckpointName(checkpoint.name())).c_str(),
                OnOneLine(line).c_str());
    for (const std::string& file : outcome.damaged_files()) {
      std::printf("  %s\n", OnOneLine(file).c_str());
    }
  }
  return damage.empty() && outcome.damaged_files().empty() ? kExitSuccess : kExitFailed;
}

}  // namespace

void AddCheckpointsVerifyCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "verify", "Read every file of a checkpoint again and check that it is as it was written");
  command->add_option("CHECKPOINT", flags->checkpoint, kCheckpointHelp)->required();
  command->add_flag("--json", flags->json, "print the last VerifyCheckpointResponse as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
