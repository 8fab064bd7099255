#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/checkpoint/manifest.h"
#include "core/checkpoint/safetensors.h"
#include "core/checkpoint/storage.h"

namespace wavefield {

// A checkpoint's directory is named by the step and the attempt's epoch, "000000000400-000002".
struct CheckpointId {
  uint64_t step = 0;
  uint64_t epoch = 0;
  friend auto operator<=>(const CheckpointId&, const CheckpointId&) = default;
};
std::string CheckpointDirectoryName(const CheckpointId& id);
std::optional<CheckpointId> ParseCheckpointDirectoryName(const std::string& name);

// The rank that writes each tensor: tensors, largest first, each to the rank with the fewest bytes
// so far. A pure function of names and sizes.
std::vector<int> AssignTensorsToRanks(std::span<const NamedTensor> tensors, int world_size);

// RESOURCE_EXHAUSTED, with both numbers, unless the storage has room for `bytes` and 5 % more.
absl::Status CheckRoom(Storage& storage, uint64_t bytes);

// What the header of each model file tells. `model_config`: the model's configuration.
std::map<std::string, std::string> ModelFileMetadata(const nlohmann::json& model_config);

// Called by every rank with the same (whole) lists of tensors, names and sizes alike: writes those
// this rank is assigned, and then a sidecar rank-0000i.json that says what was written. Model
// tensors have the names of the model; optimizer tensors are called "m.<name>", "v.<name>" and
// "ema.<name>". `model_metadata`, see above, goes into each model file. Of the tensors of other
// ranks the memory is not read. ALREADY_EXISTS when the directory has a manifest; ABORTED soon
// after `cancel` asks for it, without a sidecar.
absl::Status WriteCheckpointShard(Storage& storage, const std::string& directory, int rank,
                                  int world_size, std::span<const NamedTensor> model,
                                  std::span<const NamedTensor> optimizer,
                                  const std::map<std::string, std::string>& model_metadata,
                                  const std::stop_token& cancel = {});

// A file that is copied into a checkpoint: the tokenizer's.
struct ExtraFile {
  std::string name;              // in the checkpoint
  std::filesystem::path source;  // a path of this machine
};

// Called by one rank after all have written (a barrier lies between): checks that every rank did,
// writes the index, copies `extra_files`, fills in `manifest.files` and writes the manifest last.
// Returns it. `manifest.world_size` says how many ranks wrote. On any error the directory has no
// manifest, so that the checkpoint does not exist.
absl::StatusOr<CheckpointManifest> CommitCheckpoint(Storage& storage, const std::string& directory,
                                                    CheckpointManifest manifest,
                                                    std::span<const ExtraFile> extra_files);

// Deletes the directories below `checkpoints` that attempts before `epoch` left without a manifest.
// Returns their names.
absl::StatusOr<std::vector<std::string>> RemoveIncompleteCheckpoints(Storage& storage,
                                                                     const std::string& checkpoints,
                                                                     uint64_t epoch);

}  // namespace wavefield
