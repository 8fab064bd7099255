#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "core/model/architecture.h"
#include "core/model/config/model_config.h"
#include "core/model/mixers/mixer.h"
#include "core/model/mixers/shared_memory.h"

namespace wavefield {
namespace {

constexpr int64_t kMaxWidth = 65536;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxVocabulary = 4 << 20;

void ValidateAttentionLayers(const ModelConfig& c, ViolationList& violations) {
  if (static_cast<int64_t>(c.attention_layers.size()) > c.n_layers) {
    violations.Add("attention_layers", fmt::format("has {} entries; the model has {} layers",
                                                   c.attention_layers.size(), c.n_layers));
    return;
  }
  std::set<int64_t> seen;
  for (const int64_t layer : c.attention_layers) {
    if (layer < 0 || layer >= c.n_layers) {
      violations.Add("attention_layers",
                     fmt::format("has {}; the layers are 0 to {}", layer, c.n_layers - 1));
    } else if (!seen.insert(layer).second) {
      violations.Add("attention_layers", fmt::format("has {} twice", layer));
    }
  }
}

}  // namespace

std::vector<FieldViolation> Validate(const ModelConfig& c, const std::string& prefix) {
  ViolationList violations(prefix);
  std::vector<std::string> forms;
  for (const MixerKind* mixer : Mixers()) forms.push_back(mixer->form());
  violations.OneOf("form", c.form, forms);
  violations.Range<int64_t>("d_model", c.d_model, 1, kMaxWidth);
  violations.Range<int64_t>("n_layers", c.n_layers, 1, kMaxLayers);
  violations.Range<int64_t>("n_heads", c.n_heads, 1, std::max<int64_t>(1, c.d_model));
  violations.Range<int64_t>("d_ff", c.d_ff, 1, 4 * kMaxWidth);
  violations.Range<int64_t>("vocab_size", c.vocab_size, 64, kMaxVocabulary);
  violations.Range<int64_t>("conv_width", c.conv_width, 1, 32);
  if (c.n_heads > 0 && c.d_model % c.n_heads != 0) {
    violations.Add("n_heads",
                   fmt::format("is {}, which does not divide d_model {}; choose a divisor",
                               c.n_heads, c.d_model));
  }
  if (c.vocab_size % 64 != 0) {
    violations.Add("vocab_size", fmt::format("is {}; must be a multiple of 64, the next is {}",
                                             c.vocab_size, PadVocabulary(c.vocab_size)));
  }
  ValidateAttentionLayers(c, violations);
  if (const MixerKind* mixer = FindMixer(c.form)) mixer->Validate(c, violations);
  if (!c.attention_layers.empty() && c.form != "attention") {
    FindMixer("attention")->Validate(c, violations);
  }
  return violations.Take();
}

std::vector<FieldViolation> ValidateDevice(const ModelConfig& c, const std::string& device) {
  ViolationList violations;
  if (device == "cpu") return violations.Take();
  std::vector<const MixerKind*> mixers;
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    const MixerKind& mixer = MixerOf(c, layer);
    if (std::find(mixers.begin(), mixers.end(), &mixer) == mixers.end()) mixers.push_back(&mixer);
    if (!mixer.cpu_only()) continue;
    violations.Add("resources.device",
                   fmt::format("is '{}', but the mixer '{}' of layer {} is computed by the CPU "
                               "alone; set it to 'cpu'",
                               device.substr(0, 64), mixer.form(), layer));
    return violations.Take();
  }
  if (SkeletonOf(c) == Skeleton::kClassic) {
    RequireSharedMemory(c, "the layer norm", cuda::LayerNormBackwardShared(c.d_model), violations);
  } else {
    RequireSharedMemory(c, "the RMS norm", cuda::RmsNormBackwardShared(c.d_model), violations);
  }
  for (const MixerKind* mixer : mixers) mixer->ValidateForCuda(c, violations);
  return violations.Take();
}

}  // namespace wavefield
