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

// The checkpoint that `text` ("x", "x@100", …) means now, by its full name.
absl::StatusOr<v1::Checkpoint> FindCheckpoint(const Session& session, const std::string& text);

// "jobs/x", or "jobs/-", all, where `text` is empty.
absl::StatusOr<std::string> ParseCheckpointParent(const std::string& text);

}  // namespace wavefield
