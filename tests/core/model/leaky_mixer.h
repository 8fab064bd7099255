#pragma once

#include "core/model/mixers/mixer.h"

namespace wavefield::testing {

// mixer(x)_t = x_{t+1}, where the window has one: sees the future, as a grid that rounds positions
// does. For the causality audit to find.
class LeakyKind final : public MixerKind {
 public:
  std::string form() const override { return "leaky"; }
  std::vector<ParameterDescription> Parameters(const ModelConfig&, int64_t) const override {
    return {};
  }
  bool cpu_only() const override { return true; }
  double MixingFlops(const ModelConfig&, int64_t) const override { return 0; }
  std::unique_ptr<Layer> Make(const ModelConfig&, const ExecutionOptions&, const ParameterViews&,
                              const ParameterViews&) const override {
    return std::make_unique<Leaky>();
  }

 private:
  class Leaky final : public Layer {
   public:
    std::unique_ptr<Saved> Forward(const LayerContext& context, Tensor x, const LayerState&,
                                   Tensor residual) const override {
      for (int64_t b = 0; b < context.batch; ++b) {
        const int64_t begin = b * context.tokens, end = begin + context.tokens;
        if (context.tokens > 1) {
          context.backend.Add(x.Rows(begin + 1, end), residual.Rows(begin, end - 1));
        }
      }
      return std::make_unique<Saved>();
    }
    void Backward(const LayerContext& context, const Saved&, Tensor dresidual, const LayerState&,
                  const LayerState&, Tensor dx) const override {
      context.backend.Fill(dx, 0);
      for (int64_t b = 0; b < context.batch; ++b) {
        const int64_t begin = b * context.tokens, end = begin + context.tokens;
        if (context.tokens > 1) {
          context.backend.Add(dresidual.Rows(begin, end - 1), dx.Rows(begin + 1, end));
        }
      }
    }
  };
};

}  // namespace wavefield::testing
