#pragma once

#include "core/model/mixers/mixer.h"

namespace wavefield {

// Causal softmax attention with rotary positions (docs/model.md, "Attention form"): the controlled
// baseline, and the layers that a hybrid names in `attention_layers`. Its state is a cache of keys
// and values, which grows with the sequence.
class AttentionKind final : public MixerKind {
 public:
  std::string form() const override { return "attention"; }
  std::vector<ParameterDescription> Parameters(const ModelConfig& config,
                                               int64_t layer) const override;
  StateSize State(const ModelConfig& config) const override;
  void Validate(const ModelConfig& config, ViolationList& violations) const override;
  void ValidateForCuda(const ModelConfig& config, ViolationList& violations) const override;
  double MixingFlops(const ModelConfig& config, int64_t tokens) const override;
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions& options,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override;
};

}  // namespace wavefield
