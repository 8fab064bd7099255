#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "core/base/staged_folder.h"
#include "core/checkpoint/manifest.h"

namespace wavefield {

// Writes an exported folder, whose weights may have been trained further elsewhere, as a checkpoint
// directory: to be evaluated, to generate, to start jobs from; not to be resumed, since it holds no
// optimizer's state. Returns its manifest. On failure there is no directory. NOT_FOUND for a
// missing file; INVALID_ARGUMENT for a config.json or a tensor that is not as it must be, naming
// key or tensor; DATA_LOSS for a damaged tokenizer.
absl::StatusOr<CheckpointManifest> ImportCheckpoint(const std::filesystem::path& folder,
                                                    StagedFolder& output);

}  // namespace wavefield
