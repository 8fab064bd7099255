#include "core/model/mixers/attention/attention.h"

#include <fmt/format.h>

#include <cmath>

#include "core/backend/cuda/limits.h"

namespace wavefield {
namespace {

struct Weights {
  explicit Weights(const ParameterViews& views)
      : qkv(views["qkv.weight"]), out(views["out.weight"]) {}
  Tensor qkv;  // [3D, D]
  Tensor out;  // [D, D]
};

struct SavedAttention final : Layer::Saved {
  Tensor x;        // [N, D]
  Tensor qkv;      // [N, 3D], rotated
  Tensor y;        // [N, D]
  Tensor log_sum;  // [N, H]
};

class Attention final : public Layer {
 public:
  Attention(const ModelConfig& config, const ParameterViews& parameters,
            const ParameterViews& gradients)
      : config_(config), weights_(parameters), gradients_(gradients) {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x,
                                        const LayerState& state, Tensor residual) const override {
    Backend& backend = context.backend;
    const int64_t n = context.rows(), d_model = config_.d_model, heads = config_.n_heads;
    auto saved = std::make_unique<SavedAttention>();
    saved->x = x;
    saved->qkv = context.Allocate({n, 3 * d_model});
    saved->y = context.Allocate({n, d_model});
    saved->log_sum = context.AllocateFloats({n, heads});
    backend.MatMul(Transpose::kNo, Transpose::kYes, x, weights_.qkv, 0, saved->qkv);
    backend.Rotary(context.batch, heads, context.position, false, saved->qkv);
    backend.AttentionForward(context.batch, heads, context.position, saved->qkv, state.history,
                             saved->y, saved->log_sum);
    backend.MatMul(Transpose::kNo, Transpose::kYes, saved->y, weights_.out, 1, residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState& state, const LayerState& dstate, Tensor dx) const override {
    Backend& backend = context.backend;
    const auto& saved = static_cast<const SavedAttention&>(layer_saved);
    const ArenaScope scope(context.arena);
    const Tensor dy = context.Allocate(saved.y.shape);
    const Tensor dqkv = context.Allocate(saved.qkv.shape);
    backend.MatMul(Transpose::kYes, Transpose::kNo, dresidual, saved.y, 1, gradients_.out);
    backend.MatMul(Transpose::kNo, Transpose::kNo, dresidual, weights_.out, 0, dy);
    backend.AttentionBackward(context.batch, config_.n_heads, context.position, saved.qkv,
                              state.history, saved.y, saved.log_sum, dy, dstate.history, dqkv);
    backend.Rotary(context.batch, config_.n_heads, context.position, true, dqkv);
    backend.MatMul(Transpose::kYes, Transpose::kNo, dqkv, saved.x, 1, gradients_.qkv);
    backend.MatMul(Transpose::kNo, Transpose::kNo, dqkv, weights_.qkv, 0, dx);
  }

 private:
  const ModelConfig config_;
  const Weights weights_;
  const Weights gradients_;
};

}  // namespace

std::vector<ParameterDescription> AttentionKind::Parameters(const ModelConfig& c, int64_t) const {
  return {MatrixParameter("qkv.weight", 3 * c.d_model, c.d_model),
          MatrixParameter("out.weight", c.d_model, c.d_model,
                          Normal(0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers))))};
}

StateSize AttentionKind::State(const ModelConfig& c) const { return {.history = 2 * c.d_model}; }

void AttentionKind::Validate(const ModelConfig& c, ViolationList& violations) const {
  if (c.n_heads > 0 && c.d_model % c.n_heads == 0 && c.head_dim() % 2 != 0) {
    violations.Add("n_heads", fmt::format("is {}, which makes heads of width {}; attention turns "
                                          "pairs of columns and needs an even width",
                                          c.n_heads, c.head_dim()));
  }
}

void AttentionKind::ValidateForCuda(const ModelConfig& c, ViolationList& violations) const {
  if (c.head_dim() <= cuda::kLargestHeadWidth) return;
  int64_t enough = c.d_model / cuda::kLargestHeadWidth;
  while (c.d_model % enough != 0 || c.d_model / enough > cuda::kLargestHeadWidth ||
         c.d_model / enough % 2 != 0) {
    ++enough;
  }
  violations.Add("model.n_heads",
                 fmt::format("is {}, which makes heads of width {}; on device 'cuda' attention has "
                             "heads of at most {}: set n_heads to {}, or resources.device to 'cpu'",
                             c.n_heads, c.head_dim(), cuda::kLargestHeadWidth, enough));
}

double AttentionKind::MixingFlops(const ModelConfig& c, int64_t tokens) const {
  return 2.0 * static_cast<double>(c.d_model) * static_cast<double>(tokens + 1);
}

std::unique_ptr<Layer> AttentionKind::Make(const ModelConfig& config, const ExecutionOptions&,
                                           const ParameterViews& parameters,
                                           const ParameterViews& gradients) const {
  return std::make_unique<Attention>(config, parameters, gradients);
}

}  // namespace wavefield
