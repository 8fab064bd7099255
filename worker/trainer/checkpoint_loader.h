#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/checkpoint/storage.h"
#include "core/comm/communicator.h"
#include "worker/trainer/task.h"
#include "worker/trainer/training_state.h"

namespace wavefield {

struct ResumedFrom {
  std::string directory;  // relative to the storage root; "": no candidates
  bool exact = true;      // the fingerprints are equal
  int refused = 0;        // candidates before it that did not verify; known to rank 0
  std::vector<std::string> warnings;
};

// Restores the newest of the task's candidates that verifies, the same on every rank; called by all
// ranks together. No candidates is no error; DATA_LOSS when there are some and none is sound.
absl::StatusOr<ResumedFrom> Resume(const TrainTask& task, Storage& storage,
                                   const nlohmann::json& fingerprint, Communicator& communicator,
                                   TrainingState& state);

// Takes the model's weights, and nothing else, from the task's init_from_directory, which becomes
// the parent of the run's checkpoints; called by all ranks together. DATA_LOSS, naming the file,
// when it is damaged; NOT_FOUND when it is gone; INVALID_ARGUMENT, naming the tensors, when it is
// of another model. ABORTED when it failed on another rank alone.
absl::Status LoadInitialWeights(const TrainTask& task, Storage& storage, Communicator& communicator,
                                TrainingState& state);

}  // namespace wavefield
