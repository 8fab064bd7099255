#include <array>
#include <string>
#include <vector>

#include "core/base/suggest.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

// One size in all families. The feed-forward widths make the parameter counts of the families equal
// within 1 % (docs/model.md, "Presets").
struct Size {
  const char* name;
  int64_t d_model, n_layers, n_heads, vocab_size;
  int64_t wave_field_d_ff, transformer_d_ff;
  int64_t classic_d_ff;  // 0: the family has no such size
};

constexpr std::array<Size, 8> kSizes = {{
    {"test", 32, 2, 2, 256, 64, 80, 80},
    {"3m", 192, 4, 3, 4096, 512, 576, 608},
    {"7m", 256, 6, 4, 8192, 640, 736, 736},
    {"30m", 512, 6, 8, 16384, 1408, 1584, 1728},
    {"124m", 768, 12, 12, 50304, 1792, 2048, 2112},
    {"350m", 1024, 24, 16, 50304, 2432, 2784, 0},
    {"825m", 1536, 24, 24, 50304, 4192, 4704, 5152},
    {"1b5", 2048, 24, 32, 50304, 6016, 6720, 0},
}};

ModelConfig Shape(const Size& size, int64_t d_ff) {
  ModelConfig config;
  config.d_model = size.d_model;
  config.n_layers = size.n_layers;
  config.n_heads = size.n_heads;
  config.vocab_size = size.vocab_size;
  config.d_ff = d_ff;
  return config;
}

std::vector<Preset> MakePresets() {
  std::vector<Preset> presets;
  for (const Size& size : kSizes) {
    presets.push_back({std::string("wave-field-") + size.name, Shape(size, size.wave_field_d_ff)});
  }
  for (const Size& size : kSizes) {
    ModelConfig config = Shape(size, size.wave_field_d_ff);
    config.damping = "static";
    config.deposit = "elementwise";
    presets.push_back({std::string("wave-field-static-") + size.name, config});
  }
  for (const Size& size : kSizes) {
    ModelConfig config = Shape(size, size.transformer_d_ff);
    config.form = "attention";
    presets.push_back({std::string("transformer-") + size.name, config});
  }
  for (const Size& size : kSizes) {
    if (size.classic_d_ff == 0) continue;
    ModelConfig config = Shape(size, size.classic_d_ff);
    config.form = "classic";
    config.damping = "static";
    config.deposit = "elementwise";
    presets.push_back({std::string("wave-field-v4-") + size.name, config});
  }
  return presets;
}

}  // namespace

std::span<const Preset> Presets() {
  static const std::vector<Preset> presets = MakePresets();
  return presets;
}

absl::StatusOr<ModelConfig> FindPreset(const std::string& name) {
  std::vector<std::string> names;
  for (const Preset& preset : Presets()) {
    if (preset.name == name) return preset.config;
    names.push_back(preset.name);
  }
  std::string message = "unknown preset '" + name.substr(0, 64) + "'";
  if (const std::string near = SuggestNearest(name, names); !near.empty()) {
    message += "; " + near;
  } else {
    message += "; known presets:";
    for (const std::string& known : names) message += " " + known;
  }
  return absl::NotFoundError(message);
}

}  // namespace wavefield
