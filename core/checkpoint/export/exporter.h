#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"
#include "core/base/staged_folder.h"
#include "core/checkpoint/export/export_config.h"
#include "core/checkpoint/manifest.h"

namespace wavefield {

struct ExportedModel {
  CheckpointManifest manifest;  // of the checkpoint
  int64_t parameters = 0;
  uint64_t bytes = 0;  // of the folder
};

// Writes the checkpoint in the directory `checkpoint` as a folder that stands alone
// (docs/export.md): weights in one file, config.json, the tokenizer and a PyTorch module. All of it
// is durable and named on success; on failure there is no folder. The checkpoint is verified first:
// NOT_FOUND, DATA_LOSS. FAILED_PRECONDITION for a moving average that the job did not keep.
absl::StatusOr<ExportedModel> ExportCheckpoint(const std::filesystem::path& checkpoint,
                                               ExportedWeights weights, StagedFolder& output);

}  // namespace wavefield
