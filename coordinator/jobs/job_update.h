#pragma once

#include "absl/status/status.h"
#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// Changes the fields of the record that an update names, all or none. INVALID_ARGUMENT for a mask
// or values that are not allowed; FAILED_PRECONDITION where the state of the job does not allow the
// change; ABORTED when the update is meant for another version of the job. Pure.
absl::Status ApplyUpdate(const wavefield::v1::UpdateJobRequest& request, JobRecord& record);

}  // namespace wavefield::coordinator
