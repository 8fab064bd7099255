#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// Shows the jobs in `state`, or all if it is UNSPECIFIED, that were created before the revision
// `before`, newest first, until `visit`, which may move the record away, returns false.
absl::Status VisitJobs(StoreReader& reader, wavefield::v1::JobState state, int64_t before,
                       const std::function<bool(int64_t revision, JobRecord&)>& visit);

}  // namespace wavefield::coordinator
