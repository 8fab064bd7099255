#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/checkpoint/manifest.h"
#include "core/data/tokenizer_description.h"

namespace wavefield {

// config.json of an exported folder (docs/export.md): what a checkpoint's manifest tells, for
// people and for wavefield_model.py.

inline constexpr char kExportConfigFile[] = "config.json";
inline constexpr char kExportWeightsFile[] = "model.safetensors";
inline constexpr int kExportFormatVersion = 1;
inline constexpr uint64_t kMaxExportConfigBytes = 4 << 20;

enum class ExportedWeights { kTrained, kMovingAverage };

// INVALID_ARGUMENT when the manifest's model or training is not one.
absl::StatusOr<std::string> FormatExportConfig(const CheckpointManifest& manifest,
                                               const TokenizerDescription& tokenizer,
                                               ExportedWeights weights);

// The manifest of a checkpoint of those weights, but for its files and its tokenizer's hash. Model
// and training are valid. INVALID_ARGUMENT names the key; FAILED_PRECONDITION: of a later version.
absl::StatusOr<CheckpointManifest> ParseExportConfig(std::string_view text);

}  // namespace wavefield
