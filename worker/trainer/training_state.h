#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/checkpoint/safetensors.h"
#include "core/comm/communicator.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"

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
  std::string parent;           // of checkpoints: CheckpointManifest::parent

  std::vector<NamedTensor> ModelTensors() const;
  // "m.", "v." and, if a moving average is kept, "ema." before the names of the model's tensors.
  std::vector<NamedTensor> OptimizerTensors() const;
};

// True where `status` is OK on every rank of the group.
absl::StatusOr<bool> OkOnEveryRank(const absl::Status& status, Communicator& communicator);

}  // namespace wavefield
