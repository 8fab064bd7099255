#pragma once

#include "core/model/mixers/mixer.h"

namespace wavefield {

// The example of CONTRIBUTING.md, "Add a mixer": every token reads the mean of all tokens so far,
//   mixer(x)_t = out · mean over s ≤ t of (value · x_s)
class RunningMeanKind final : public MixerKind {
 public:
  std::string form() const override { return "running_mean"; }
  std::vector<ParameterDescription> Parameters(const ModelConfig& config,
                                               int64_t layer) const override;
  // The sum so far, [B, D].
  StateSize State(const ModelConfig& config) const override { return {.carry = config.d_model}; }
  // Its loops below run on host memory.
  bool cpu_only() const override { return true; }
  double MixingFlops(const ModelConfig& config, int64_t) const override {
    return 2.0 * static_cast<double>(config.d_model);
  }
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions& options,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override;
};

}  // namespace wavefield
