#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/job_follower.h"
#include "cli/session.h"

namespace wavefield {

// Watches "jobs/{job}" on stdout until it has ended — live, or with `json` every update as one line
// of JSON — and returns the exit code that tells success from failure.
absl::StatusOr<int> WatchJob(const Session& session, const std::string& name,
                             const FollowOptions& options, bool json);

}  // namespace wavefield
