#pragma once

#include "absl/status/status.h"
#include "coordinator/checkpoints/reads.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// FAILED_PRECONDITION, with everything that is in the way, unless the job may be deleted now.
absl::Status CheckDeletable(StoreReader& reader, const CheckpointReads& reads,
                            const JobRecord& record);

// Deletes a job, its history and its checkpoints. REQUIRES: CheckDeletable() in this transaction.
absl::Status DeleteJobAndCheckpoints(Transaction& transaction, const JobRecord& record);

}  // namespace wavefield::coordinator
