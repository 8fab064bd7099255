#pragma once

#include "core/model/mixers/mixer.h"

namespace wavefield {

// The classic form (docs/model.md): features of queries and keys, damped waves with static damping
// and elementwise deposits, coupling, a matrix shared by the heads, gate.
class ClassicKind final : public MixerKind {
 public:
  std::string form() const override { return "classic"; }
  Skeleton skeleton() const override { return Skeleton::kClassic; }
  std::vector<ParameterDescription> Parameters(const ModelConfig& config,
                                               int64_t layer) const override;
  StateSize State(const ModelConfig& config) const override;
  void Validate(const ModelConfig& config, ViolationList& violations) const override;
  std::vector<Propagation> Ways(const ModelConfig& config) const override;
  void ValidateForCuda(const ModelConfig& config, ViolationList& violations) const override;
  double MixingFlops(const ModelConfig& config, int64_t tokens) const override;
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions& options,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override;
};

}  // namespace wavefield
