#include "core/model/optimizer_scratch.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace wavefield {

int64_t LayerOf(const std::string& name) {
  const std::string prefix = "layers.";
  int64_t layer = -1;
  if (name.starts_with(prefix)) {
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
  }
  return layer;
}

int64_t StackedMatrices(const std::string& name) {
  if (name.ends_with(".qkvg.weight")) return 4;
  if (name.ends_with(".qkv.weight")) return 3;
  return 1;
}

bool FollowsMuon(const ParameterDescription& parameter, const TrainingConfig& training) {
  return training.optimizer == "muon" && parameter.group == ParameterGroup::kMatrix;
}

OptimizerScratch OptimizerScratchOf(const ParameterLayout& layout, const TrainingConfig& training) {
  OptimizerScratch scratch;
  std::map<int64_t, int64_t> layers;
  for (const ParameterInfo& info : layout.parameters()) {
    const int64_t elements = info.shape.elements(), layer = LayerOf(info.name);
    if (layer >= 0) scratch.layer = std::max(scratch.layer, layers[layer] += elements);
    if (!FollowsMuon(info, training)) continue;
    const int64_t matrix = elements / StackedMatrices(info.name), width = info.shape[1];
    scratch.muon_elements = std::max(scratch.muon_elements, matrix);
    scratch.muon_side = std::max(scratch.muon_side, std::min(width, matrix / width));
  }
  return scratch;
}

}  // namespace wavefield
