#pragma once

#include <filesystem>

#include "worker/trainer/task.h"

namespace wavefield {

// Exit codes of a trainer that the worker passes on.
inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
// The attempt was ended from outside, or a peer died: not this rank's fault.
inline constexpr int kExitAborted = 76;

// Runs the task in `file` (a message Assignment as JSON) with the worker's channel on descriptor 3,
// and returns the process's exit code.
int RunTask(const std::filesystem::path& file, const HostOptions& host);

}  // namespace wavefield
