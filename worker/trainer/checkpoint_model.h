#pragma once

#include <filesystem>
#include <memory>

#include "core/data/dataset.h"
#include "core/data/tokenizer/tokenizer.h"
#include "core/data/tokenizer_description.h"
#include "core/model/model.h"

namespace wavefield {

// A trained model as it lies in a checkpoint's directory, computed as it was trained, with its
// tokenizer.
struct CheckpointModel {
  int64_t step = 0;
  int64_t sequence_length = 0;  // it was trained with
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  TokenizerDescription tokenizer;
};

// NOT_FOUND or DATA_LOSS when `directory` holds no sound checkpoint.
absl::StatusOr<CheckpointModel> LoadCheckpointModel(const std::filesystem::path& directory,
                                                    int threads);

// The dataset in `directory`. FAILED_PRECONDITION when it is of other tokens than the model's.
absl::StatusOr<Dataset> OpenDatasetOf(const CheckpointModel& loaded,
                                      const std::filesystem::path& directory);

}  // namespace wavefield
