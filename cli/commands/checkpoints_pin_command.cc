// checkpoints pin, unpin and note: what people write on a checkpoint.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string checkpoint;
  std::string note;
  const CLI::Option* note_option = nullptr;  // null: the command has none
  bool json = false;
};

// `pinned`: what was asked for; nothing: the note alone.
std::string Outcome(const v1::Checkpoint& checkpoint, std::optional<bool> pinned) {
  const std::string name = ShortCheckpointName(checkpoint.name());
  if (pinned && !*pinned) return name + " is no longer pinned";
  if (!pinned && checkpoint.note().empty()) return name + " has no note";
  return fmt::format("{}{}{}{}", name, pinned ? " pinned" : "",
                     checkpoint.note().empty() ? "" : ": ", checkpoint.note());
}

absl::StatusOr<int> Update(const Flags& flags, std::optional<bool> pinned,
                           const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Checkpoint found, FindCheckpoint(session, flags.checkpoint));
  v1::UpdateCheckpointRequest request;
  request.mutable_checkpoint()->set_name(found.name());
  request.set_request_id(NewRequestId());
  if (pinned) {
    request.mutable_checkpoint()->set_pinned(*pinned);
    request.mutable_update_mask()->add_paths("pinned");
  }
  if (flags.note_option != nullptr && flags.note_option->count() > 0) {
    request.mutable_checkpoint()->set_note(flags.note);
    request.mutable_update_mask()->add_paths("note");
  }
  WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint,
                      session.Call(&v1::CheckpointService::Stub::UpdateCheckpoint, request));
  if (flags.json) {
    std::printf("%s", ToJson(checkpoint, true).c_str());
  } else {
    std::printf("%s\n", OnOneLine(Outcome(checkpoint, pinned)).c_str());
  }
  return kExitSuccess;
}

CLI::App& AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     Flags& flags) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->add_option("CHECKPOINT", flags.checkpoint, kCheckpointHelp)->required();
  command->add_flag("--json", flags.json, "print the Checkpoint as JSON");
  return *command;
}

}  // namespace

void AddCheckpointsPinCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command =
      AddCommand(parent, "pin", "Keep a checkpoint whatever its job's retention says", *flags);
  flags->note_option = command.add_option("--note", flags->note, "why, for others to read");
  context.OnCommand(&command,
                    [&context, flags] { return Update(*flags, true, context.connection); });
}

void AddCheckpointsUnpinCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command =
      AddCommand(parent, "unpin", "Leave a checkpoint to its job's retention again", *flags);
  context.OnCommand(&command,
                    [&context, flags] { return Update(*flags, false, context.connection); });
}

void AddCheckpointsNoteCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command =
      AddCommand(parent, "note", "Write a note on a checkpoint; an empty one removes it", *flags);
  flags->note_option =
      command.add_option("NOTE", flags->note, "at most 1000 bytes of text")->required();
  context.OnCommand(&command,
                    [&context, flags] { return Update(*flags, std::nullopt, context.connection); });
}

}  // namespace wavefield
