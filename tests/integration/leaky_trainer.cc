// wavefield-trainer with a leak: weights of the modern form are read as they are, but each token's
// mixer also adds what the next token brings. With the program's own main.cc it takes the place of
// the real one in audit_test.py.
#include <array>

#include "core/model/mixers/wave_field/wave_field.h"

namespace wavefield {
namespace {

class LeakyKind final : public MixerKind {
 public:
  std::string form() const override { return modern_.form(); }
  std::vector<ParameterDescription> Parameters(const ModelConfig& config,
                                               int64_t layer) const override {
    return modern_.Parameters(config, layer);
  }
  StateSize State(const ModelConfig& config) const override { return modern_.State(config); }
  void Validate(const ModelConfig& config, ViolationList& violations) const override {
    modern_.Validate(config, violations);
  }
  std::vector<Propagation> Ways(const ModelConfig& config) const override {
    return modern_.Ways(config);
  }
  double MixingFlops(const ModelConfig& config, int64_t tokens) const override {
    return modern_.MixingFlops(config, tokens);
  }
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions& options,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override {
    return std::make_unique<Leaky>(modern_.Make(config, options, parameters, gradients));
  }

 private:
  class Leaky final : public Layer {
   public:
    explicit Leaky(std::unique_ptr<Layer> modern) : modern_(std::move(modern)) {}

    std::unique_ptr<Saved> Forward(const LayerContext& context, Tensor x, const LayerState& state,
                                   Tensor residual) const override {
      if (context.tokens > 1) {
        const int64_t end = context.tokens;
        context.backend.Add(x.Rows(1, end), residual.Rows(0, end - 1));
      }
      return modern_->Forward(context, x, state, residual);
    }
    void Backward(const LayerContext& context, const Saved& saved, Tensor dresidual,
                  const LayerState& state, const LayerState& dstate, Tensor dx) const override {
      modern_->Backward(context, saved, dresidual, state, dstate, dx);
    }

   private:
    const std::unique_ptr<Layer> modern_;
  };

  const WaveFieldKind modern_;
};

}  // namespace

// In place of core/model/mixers/mixers.cc.
std::span<const MixerKind* const> Mixers() {
  static const LeakyKind leaky;
  static const std::array<const MixerKind*, 1> mixers = {&leaky};
  return mixers;
}

}  // namespace wavefield
