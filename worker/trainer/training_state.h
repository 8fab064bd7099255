#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/checkpoint/safetensors.h"
#include "core/comm/communicator.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"
#include "worker/trainer/task.h"

namespace wavefield {

// Everything that a run continues from, the same on every rank.
struct TrainingState {
  Model& model;
  Optimizer& optimizer;
  int64_t step = 0;             // done so far; also the index of the next batch
  int64_t total_tokens = 0;     // targets trained on
  double trained_seconds = 0;   // of all attempts
  double loss = 0;              // of the last step
  double evaluation_loss = 0;   // of the last evaluation
  int64_t evaluation_step = 0;  // 0: none yet
  std::string parent;           // directory name of the checkpoint it resumed from, or ""

  std::vector<NamedTensor> ModelTensors() const;
  // "m.", "v." and, if a moving average is kept, "ema." before the names of the model's tensors.
  std::vector<NamedTensor> OptimizerTensors() const;
};

struct SavedCheckpoint {
  std::string directory;  // relative to the storage root
  int64_t bytes = 0;
  std::string manifest;
};

struct ResumedFrom {
  std::string directory;  // relative to the storage root; "": from scratch
  bool exact = true;      // the fingerprints are equal
  int refused = 0;        // candidates before it that did not verify; known to rank 0
  std::vector<std::string> warnings;
};

// True where `status` is OK on every rank of the group.
absl::StatusOr<bool> OkOnEveryRank(const absl::Status& status, Communicator& communicator);

// Writes and restores a job's checkpoints in the cluster's storage (docs/checkpoint-format.md).
class CheckpointKeeper {
 public:
  CheckpointKeeper(const TrainTask& task, const HostOptions& host, nlohmann::json fingerprint);

  // Called by all ranks together. Returns the same success or failure on each; the message of a
  // failure is that of the rank it happened on. ABORTED when the group is broken. Rank 0 calls
  // `on_committed` as soon as the checkpoint exists, whatever becomes of the group then.
  absl::Status Save(const TrainingState& state, Communicator& communicator,
                    const std::function<void(const SavedCheckpoint&)>& on_committed);

  // Restores the newest candidate that verifies, the same on every rank. No candidates is no error;
  // DATA_LOSS when there are some and none is sound.
  absl::StatusOr<ResumedFrom> Resume(TrainingState& state, Communicator& communicator);

 private:
  absl::StatusOr<SavedCheckpoint> Commit(const TrainingState& state, const std::string& directory);

  const TrainTask& task_;
  DirectoryStorage storage_;
  nlohmann::json fingerprint_;
};

}  // namespace wavefield
