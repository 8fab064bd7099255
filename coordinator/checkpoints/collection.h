#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/checkpoints/reads.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// What requests remove. With `transaction` (then also the reader) it is done, with null it is only
// said.

// One checkpoint, by its name. FAILED_PRECONDITION says why it may not be removed.
absl::StatusOr<wavefield::v1::Checkpoint> DeleteByName(StoreReader& reader,
                                                       Transaction* transaction,
                                                       const CheckpointReads& reads,
                                                       const std::string& name);

// Those that a filter selects and that may be removed. At most 10,000 are looked at.
absl::Status DeleteByFilter(StoreReader& reader, Transaction* transaction,
                            const CheckpointReads& reads,
                            const wavefield::v1::DeleteCheckpointsRequest& request,
                            wavefield::v1::DeleteCheckpointsResponse& response);

// Those that the rules of their jobs do not keep: fills in all but the orphans. RESOURCE_EXHAUSTED,
// with nothing done, when there are more decisions than an answer can hold.
absl::Status CollectByRules(StoreReader& reader, Transaction* transaction,
                            const CheckpointReads& reads, const std::string& parent,
                            wavefield::v1::CollectGarbageResponse& response);

}  // namespace wavefield::coordinator
