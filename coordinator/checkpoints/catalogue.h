#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/checkpoints/reads.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// Of one checkpoint.
inline constexpr int kMaxCheckpointFiles = 4096;

// What the catalogue says of a checkpoint that a rank of the current attempt wrote.
// INVALID_ARGUMENT when the manifest does not parse or names files or directories outside the job's
// own.
absl::StatusOr<wavefield::v1::Checkpoint> CheckpointFromReport(
    const JobRecord& record, const wavefield::v1::CheckpointSaved& saved, absl::Time now);

// Commits a checkpoint: catalogues it, makes it the job's newest, and removes those that retention
// no longer keeps (coordinator/checkpoints/removal.h).
absl::Status CommitCheckpoint(Transaction& transaction, JobRecord& record,
                              const wavefield::v1::Checkpoint& checkpoint,
                              const CheckpointReads& reads);

// The directories of a job's committed checkpoints, newest first; those known to be damaged last.
absl::StatusOr<std::vector<std::string>> ResumeCandidates(StoreReader& reader,
                                                          const std::string& job);

// "jobs/{job}/checkpoints/{reference}", reference = "{step}-{epoch}", "{step}" (the newest of that
// step) or "latest". NOT_FOUND says what there is.
absl::StatusOr<wavefield::v1::Checkpoint> ResolveCheckpoint(StoreReader& reader,
                                                            const std::string& name);

// "a" of "jobs/a/checkpoints/b".
std::string JobOfCheckpoint(const std::string& name);

// Those of one job, or of all if `job` is empty, newest first, of revisions before `before`, until
// `visit` returns false. `visit` may move the checkpoint away.
absl::Status VisitCheckpoints(
    StoreReader& reader, const std::string& job, int64_t before,
    const std::function<bool(int64_t revision, wavefield::v1::Checkpoint&)>& visit);

// All of one job, newest first.
absl::StatusOr<std::vector<wavefield::v1::Checkpoint>> CheckpointsOf(StoreReader& reader,
                                                                     const std::string& job);

// Relative, not empty, without "." and ".." parts.
bool IsSafeRelativePath(const std::string& path);

}  // namespace wavefield::coordinator
