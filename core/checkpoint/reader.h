#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/checkpoint/manifest.h"
#include "core/checkpoint/safetensors.h"

namespace wavefield {

enum class VerifyLevel {
  kQuick,  // the manifest is whole, and every file is there with its size
  kFull,   // and every file has its SHA-256
};

// The manifest of the checkpoint in `directory` once it was found sound. NOT_FOUND when it has no
// manifest (it is incomplete, or no checkpoint), DATA_LOSS naming the file that is not as written.
absl::StatusOr<CheckpointManifest> VerifyCheckpoint(const std::filesystem::path& directory,
                                                    VerifyLevel level);

enum class TensorGroup { kModel, kOptimizer };

// Fills every tensor of `destination` with the one of its name. `path` is a checkpoint's directory,
// a directory of plain .safetensors files, or one such file; of a directory, files called
// "optimizer-…" are the optimizer's and all others the model's. Missing tensors, tensors that are
// not in `destination`, other shapes or dtypes are INVALID_ARGUMENT, naming them; then, or after
// any other error, the contents of `destination` are undefined. Trusts the data: verify first.
absl::Status LoadTensors(const std::filesystem::path& path,
                         std::span<const NamedTensor> destination,
                         TensorGroup group = TensorGroup::kModel);

}  // namespace wavefield
