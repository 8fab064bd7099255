#pragma once

#include "absl/status/status.h"

namespace wavefield {

// What `wavefield` exits with; scripts rely on it (cli/README.md).
enum ExitCode : int {
  kExitSuccess = 0,
  kExitFailed = 1,
  kExitInvalidInput = 2,
  kExitNotFound = 3,
  kExitUnreachable = 4,
  kExitJobFailed = 5,    // the job that was watched ended without success
  kExitAuditFailed = 6,  // the model that was audited sees the future
};

inline constexpr char kExitCodeHelp[] =
    "--address, --profile, --ca-file, --token-file and --timeout work with every command.\n"
    "Exit codes: 0 success, 1 failed, 2 usage or invalid input, 3 not found, 4 coordinator "
    "unreachable,\n5 the watched job ended without success, 6 an audit did not pass, 130 "
    "interrupted.";

// Marks `status` as: no coordinator answers.
absl::Status UnreachableError(const std::string& message);

ExitCode ExitCodeOf(const absl::Status& status);

// What the program ends with: `code`, or kExitFailed with an error where something that a success
// printed did not get to the standard output.
int FinishOutput(int code);

// Prints message, then every field violation as a line "field: description", to stderr.
void PrintError(const absl::Status& status);

}  // namespace wavefield
