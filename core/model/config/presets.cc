#include <array>

#include "core/base/suggest.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

ModelConfig Modern(int64_t d_model, int64_t n_layers, int64_t n_heads, int64_t d_ff,
                   int64_t vocab_size) {
  ModelConfig config;
  config.d_model = d_model;
  config.n_layers = n_layers;
  config.n_heads = n_heads;
  config.d_ff = d_ff;
  config.vocab_size = vocab_size;
  return config;
}

}  // namespace

std::span<const Preset> Presets() {
  static const std::array<Preset, 8> presets = {{
      {"wave-field-test", Modern(32, 2, 2, 64, 256)},
      {"wave-field-3m", Modern(192, 4, 3, 512, 4096)},
      {"wave-field-7m", Modern(256, 6, 4, 640, 8192)},
      {"wave-field-30m", Modern(512, 6, 8, 1408, 16384)},
      {"wave-field-124m", Modern(768, 12, 12, 1792, 50304)},
      {"wave-field-350m", Modern(1024, 24, 16, 2432, 50304)},
      {"wave-field-825m", Modern(1536, 24, 24, 4192, 50304)},
      {"wave-field-1b5", Modern(2048, 24, 32, 6016, 50304)},
  }};
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
