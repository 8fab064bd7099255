#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// What the catalogue says of a checkpoint that a rank of the current attempt wrote.
// INVALID_ARGUMENT when the manifest does not parse or names files or directories outside the job's
// own.
absl::StatusOr<wavefield::v1::Checkpoint> CheckpointFromReport(
    const JobRecord& record, const wavefield::v1::CheckpointSaved& saved, absl::Time now);

// Commits a checkpoint: catalogues it, makes it the job's newest, and queues those that retention
// no longer keeps for removal (never the newest, pinned ones, or what an attempt that still starts
// may resume from).
absl::Status CommitCheckpoint(Transaction& transaction, JobRecord& record,
                              const wavefield::v1::Checkpoint& checkpoint);

// The directories of a job's committed checkpoints, newest first.
absl::StatusOr<std::vector<std::string>> ResumeCandidates(StoreReader& reader,
                                                          const std::string& job);

// "jobs/{job}/checkpoints/{reference}", reference = "{step}-{epoch}", "{step}" (the newest of that
// step) or "latest". NOT_FOUND says what there is.
absl::StatusOr<wavefield::v1::Checkpoint> ResolveCheckpoint(StoreReader& reader,
                                                            const std::string& name);

// Relative, not empty, without "." and ".." parts.
bool IsSafeRelativePath(const std::string& path);

}  // namespace wavefield::coordinator
