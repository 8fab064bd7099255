#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/checkpoints/reads.h"
#include "coordinator/checkpoints/retention.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// What must not be removed now, and what may. Whoever removes a checkpoint asks here first, in the
// transaction in which it is removed.

// directory → who needs the checkpoint in it: live jobs that start from it, attempts that are
// starting and may resume from it, and those that read it now. `current`: a job's record that is
// newer than the store's, or null.
absl::StatusOr<std::map<std::string, std::string>> FindNeeds(StoreReader& reader,
                                                             const CheckpointReads& reads,
                                                             const JobRecord* current = nullptr);

// A job's checkpoints, newest first, and what becomes of each.
struct DecidedCheckpoints {
  std::vector<wavefield::v1::Checkpoint> checkpoints;
  std::vector<RetentionDecision> decisions;
};
absl::StatusOr<DecidedCheckpoints> DecideCheckpoints(
    StoreReader& reader, const JobRecord& record, const std::map<std::string, std::string>& needs);

// Takes a checkpoint out of the catalogue, and queues its directory for removal. The caller puts
// the record, which may change. REQUIRES: it may be removed.
absl::Status RemoveCheckpoint(Transaction& transaction, JobRecord& record,
                              const wavefield::v1::Checkpoint& checkpoint);

// Removes what neither the job's policy nor anybody's need keeps. The caller puts the record.
absl::Status ApplyRetention(Transaction& transaction, JobRecord& record,
                            const CheckpointReads& reads);

}  // namespace wavefield::coordinator
