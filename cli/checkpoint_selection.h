#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield {

// What the commands about checkpoints share.

// How people name one: for help.
inline constexpr char kCheckpointHelp[] = "JOB (its newest) or JOB@STEP";

// --filter, which selects checkpoints.
void AddCheckpointFilterFlag(CLI::App& command, std::string& filter);

// Removes it, or (`validate_only`) says whether it may be removed.
absl::StatusOr<v1::Checkpoint> DeleteCheckpoint(const Session& session, const std::string& name,
                                                bool validate_only);

// Removes the checkpoints that `decisions`, a preview, says are to be removed, and no others; makes
// of it what came of each. An error is that of the first one that failed for another reason than
// that the checkpoint must stay or is gone; those behind it are left.
absl::Status RemoveAsShown(const Session& session,
                           google::protobuf::RepeatedPtrField<v1::CheckpointDecision>& decisions);

// The checkpoint that `text` ("x", "x@100", …) means now, by its full name.
absl::StatusOr<v1::Checkpoint> FindCheckpoint(const Session& session, const std::string& text);

// "jobs/x", or "jobs/-", all, where `text` is empty.
absl::StatusOr<std::string> ParseCheckpointParent(const std::string& text);

}  // namespace wavefield
