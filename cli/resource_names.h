#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace wavefield {

// What people type, as the API's resource names. INVALID_ARGUMENT says what a name looks like.

// "x" and "jobs/x" → "jobs/x".
absl::StatusOr<std::string> ParseJobName(const std::string& text);
// "x" and "datasets/x" → "datasets/x".
absl::StatusOr<std::string> ParseDatasetName(const std::string& text);
// "x" and "workers/x" → "workers/x".
absl::StatusOr<std::string> ParseWorkerName(const std::string& text);
// "x" → "jobs/x/checkpoints/latest"; "x@100", "x@100-2" and "x@latest" → "jobs/x/checkpoints/100"
// …; "jobs/x/checkpoints/y" is itself.
absl::StatusOr<std::string> ParseCheckpointName(const std::string& text);
// Whether `text` says which checkpoint of a job: "x@100", "jobs/x/checkpoints/y", not "x" or
// "jobs/x".
bool NamesCheckpoint(const std::string& text);

// What follows the last '/': "jobs/x" → "x".
std::string ResourceId(const std::string& name);
// "jobs/x/checkpoints/100-2" → "x@100-2".
std::string ShortCheckpointName(const std::string& name);

// Prints an id ("x", "x@100-2") on a line of its own, for scripts and shells. What holds another
// character than ids do is skipped: it is not what a coordinator may call anything.
void PrintId(const std::string& id);

}  // namespace wavefield
