#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/config/field_violation.h"

namespace wavefield {

// The architecture of one model (docs/model.md); letters as in core/README.md.
struct ModelConfig {
  std::string form = "modern";
  int64_t d_model = 0;     // D
  int64_t n_layers = 0;    // L
  int64_t n_heads = 0;     // H
  int64_t d_ff = 0;        // F
  int64_t vocab_size = 0;  // V, a multiple of 64
  int64_t conv_width = 4;  // W
  std::string damping = "selective";
  std::string deposit = "outer";
  std::vector<int64_t> attention_layers;

  int64_t head_dim() const { return d_model / n_heads; }  // d
  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// The JSON of safetensors metadata and checkpoints: exactly the keys of docs/model.md.
nlohmann::json ToJson(const ModelConfig& config);
// INVALID_ARGUMENT for a missing, unknown or ill-typed key, or a configuration that does not
// validate.
absl::StatusOr<ModelConfig> ModelConfigFromJson(const nlohmann::json& json);

// Everything that is wrong, fields prefixed by `prefix` ("model."); empty: valid.
std::vector<FieldViolation> Validate(const ModelConfig& config, const std::string& prefix);

// Whether a device computes the model: violations, fields by their whole path, for a mixer that the
// CPU alone computes and for what a GPU's kernels cannot hold. REQUIRES: valid.
std::vector<FieldViolation> ValidateDevice(const ModelConfig& config, const std::string& device);

struct Preset {
  std::string name;
  ModelConfig config;  // with the preset's default vocabulary
};
std::span<const Preset> Presets();
// NOT_FOUND with the nearest names.
absl::StatusOr<ModelConfig> FindPreset(const std::string& name);

// The smallest multiple of 64 that is at least `vocab_size`.
int64_t PadVocabulary(int64_t vocab_size);

}  // namespace wavefield
