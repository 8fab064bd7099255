#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/reconnection.h"
#include "cli/session.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

struct FollowOptions {
  bool include_history = false;
  // After a lost connection, how long to try to get it back. The first one is not retried.
  absl::Duration reconnect_for = absl::Minutes(5);
};

// Called with every update, in order; after a reconnection those already seen do not come again.
using OnJobUpdate = std::function<void(const v1::WatchJobResponse&)>;
using OnJobsUpdate = std::function<void(const v1::WatchJobsResponse&)>;

// Follows "jobs/{job}" until it has ended and returns it as it is then.
absl::StatusOr<v1::Job> FollowJob(const Session& session, const std::string& name,
                                  const FollowOptions& options, const OnJobUpdate& on_update,
                                  const OnConnectionLost& on_lost);

// Follows the jobs that `filter` selects (ListJobsRequest.filter); returns only with an error.
absl::Status FollowJobs(const Session& session, const std::string& filter,
                        absl::Duration reconnect_for, const OnJobsUpdate& on_update,
                        const OnConnectionLost& on_lost);

}  // namespace wavefield
