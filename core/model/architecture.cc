#include "core/model/architecture.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/check.h"
#include "core/model/feed_forward/feed_forward.h"
#include "core/model/interference/interference.h"
#include "core/model/norm.h"

namespace wavefield {

const MixerKind* FindMixer(const std::string& form) {
  for (const MixerKind* mixer : Mixers()) {
    if (mixer->form() == form) return mixer;
  }
  return nullptr;
}

Skeleton SkeletonOf(const ModelConfig& config) {
  const MixerKind* mixer = FindMixer(config.form);
  WF_CHECK_MSG(mixer != nullptr, "form " + config.form);
  return mixer->skeleton();
}

const MixerKind& MixerOf(const ModelConfig& config, int64_t layer) {
  const auto& attention = config.attention_layers;
  const bool attends = std::find(attention.begin(), attention.end(), layer) != attention.end();
  const MixerKind* mixer = FindMixer(attends ? "attention" : config.form);
  WF_CHECK_MSG(mixer != nullptr, "form " + config.form);
  return *mixer;
}

std::vector<BranchDescription> Branches(const ModelConfig& config) {
  constexpr int64_t kInterferencePeriod = 3;  // layers
  const bool classic = SkeletonOf(config) == Skeleton::kClassic;
  const LayerKind& feed_forward = classic ? GeluFeedForward() : SwiGluFeedForward();
  std::vector<BranchDescription> branches;
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const std::string block = fmt::format("layers.{}.", i);
    const MixerKind& mixer = MixerOf(config, i);
    branches.push_back({&mixer, &mixer, i, block + "norm1.", block + "mixer."});
    branches.push_back({&feed_forward, nullptr, i, block + "norm2.", block + "ffn."});
    if (classic && (i + 1) % kInterferencePeriod == 0) {
      const std::string prefix = fmt::format("interference.{}.", i / kInterferencePeriod);
      branches.push_back({&Interference(), nullptr, i, "", prefix});
    }
  }
  return branches;
}

std::vector<ParameterDescription> DescribeParameters(const ModelConfig& config) {
  std::vector<ParameterDescription> all;
  const auto add = [&](const std::string& prefix, std::vector<ParameterDescription> list) {
    for (ParameterDescription& parameter : list) {
      parameter.name = prefix + parameter.name;
      all.push_back(std::move(parameter));
    }
  };
  // The tied embedding: once, as the head's matrix.
  all.push_back({"embedding.weight",
                 {config.vocab_size, config.d_model},
                 ParameterGroup::kEmbedding,
                 true,
                 1,
                 Normal(0.02)});
  for (const BranchDescription& branch : Branches(config)) {
    if (!branch.norm.empty()) add(branch.norm, Norm::Parameters(config));
    add(branch.prefix, branch.kind->Parameters(config, branch.layer));
  }
  add("norm.", Norm::Parameters(config));
  return all;
}

}  // namespace wavefield
