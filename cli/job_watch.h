#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/job_follower.h"
#include "cli/session.h"

namespace wavefield {

enum class WatchForm {
  kLive,   // a page drawn over and over; where stdout is no terminal, as kLines
  kLines,  // what happens, line by line
  kJson,   // every update as one line of JSON
};

// Watches "jobs/{job}" on stdout until it has ended, and returns the exit code that tells success
// from failure.
absl::StatusOr<int> WatchJob(const Session& session, const std::string& name,
                             const FollowOptions& options, WatchForm form);

}  // namespace wavefield
