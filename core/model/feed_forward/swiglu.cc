#include <cmath>

#include "core/base/check.h"
#include "core/model/feed_forward/feed_forward.h"

namespace wavefield {
namespace {

struct Weights {
  explicit Weights(const ParameterViews& views)
      : gate_up(views["gate.weight"]), down(views["down.weight"]) {
    if (gate_up.empty()) return;
    WF_CHECK(views["up.weight"].f32() == gate_up.f32() + gate_up.elements());
    gate_up.shape = {2 * gate_up.shape[0], gate_up.shape[1]};
  }
  Tensor gate_up;  // [2F, D]: gate above up
  Tensor down;     // [D, F]
};

struct SavedSwiGlu final : Layer::Saved {
  Tensor x;        // [N, D]
  Tensor gate_up;  // [N, 2F]
  Tensor hidden;   // [N, F]
};

class SwiGlu final : public Layer {
 public:
  SwiGlu(int64_t d_ff, const ParameterViews& parameters, const ParameterViews& gradients)
      : d_ff_(d_ff), weights_(parameters), gradients_(gradients) {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x, const LayerState&,
                                        Tensor residual) const override {
    Backend& backend = context.backend;
    auto saved = std::make_unique<SavedSwiGlu>();
    saved->x = x;
    saved->gate_up = context.Allocate({context.rows(), 2 * d_ff_});
    saved->hidden = context.Allocate({context.rows(), d_ff_});
    backend.MatMul(Transpose::kNo, Transpose::kYes, x, weights_.gate_up, 0, saved->gate_up);
    backend.SwiGluForward(saved->gate_up, saved->hidden);
    backend.MatMul(Transpose::kNo, Transpose::kYes, saved->hidden, weights_.down, 1, residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState&, const LayerState&, Tensor dx) const override {
    Backend& backend = context.backend;
    const auto& saved = static_cast<const SavedSwiGlu&>(layer_saved);
    const ArenaScope scope(context.arena);
    const Tensor dhidden = context.Allocate(saved.hidden.shape);
    backend.MatMul(Transpose::kYes, Transpose::kNo, dresidual, saved.hidden, 1, gradients_.down);
    backend.MatMul(Transpose::kNo, Transpose::kNo, dresidual, weights_.down, 0, dhidden);
    backend.SwiGluBackward(saved.gate_up, dhidden, saved.gate_up);
    backend.MatMul(Transpose::kYes, Transpose::kNo, saved.gate_up, saved.x, 1, gradients_.gate_up);
    backend.MatMul(Transpose::kNo, Transpose::kNo, saved.gate_up, weights_.gate_up, 0, dx);
  }

 private:
  const int64_t d_ff_;
  const Weights weights_;
  const Weights gradients_;
};

class SwiGluKind final : public LayerKind {
 public:
  // gate and up are neighbours: one [2F, D] matrix to the matrix product.
  std::vector<ParameterDescription> Parameters(const ModelConfig& c, int64_t) const override {
    return {
        MatrixParameter("gate.weight", c.d_ff, c.d_model),
        MatrixParameter("up.weight", c.d_ff, c.d_model),
        MatrixParameter("down.weight", c.d_model, c.d_ff,
                        Normal(0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers)))),
    };
  }
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions&,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override {
    return std::make_unique<SwiGlu>(config.d_ff, parameters, gradients);
  }
};

}  // namespace

const LayerKind& SwiGluFeedForward() {
  static const SwiGluKind kind;
  return kind;
}

}  // namespace wavefield
