#include "docs/examples/running_mean/running_mean.h"

#include <cmath>

namespace wavefield {
namespace {

struct Weights {
  explicit Weights(const ParameterViews& views)
      : value(views["value.weight"]), out(views["out.weight"]) {}
  Tensor value;  // [D, D]
  Tensor out;    // [D, D]
};

struct SavedMean final : Layer::Saved {
  Tensor x;     // [N, D]
  Tensor mean;  // [N, D]
};

class RunningMean final : public Layer {
 public:
  RunningMean(const ParameterViews& parameters, const ParameterViews& gradients)
      : weights_(parameters), gradients_(gradients) {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x,
                                        const LayerState& state, Tensor residual) const override {
    auto saved = std::make_unique<SavedMean>();
    saved->x = x;
    saved->mean = context.Allocate(x.shape);
    context.backend.MatMul(Transpose::kNo, Transpose::kYes, x, weights_.value, 0, saved->mean);
    const int64_t width = x.shape[1];
    std::vector<float> empty(static_cast<size_t>(context.batch * width), 0.0f);
    float* sums = state.carry.empty() ? empty.data() : state.carry.f32();
    for (int64_t b = 0; b < context.batch; ++b) {
      for (int64_t t = 0; t < context.tokens; ++t) {
        float* row = saved->mean.f32() + (b * context.tokens + t) * width;
        const auto count = static_cast<float>(context.position + t + 1);
        for (int64_t i = 0; i < width; ++i) {
          sums[b * width + i] += row[i];
          row[i] = sums[b * width + i] / count;
        }
      }
    }
    context.backend.MatMul(Transpose::kNo, Transpose::kYes, saved->mean, weights_.out, 1, residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState&, const LayerState& dstate, Tensor dx) const override {
    const auto& saved = static_cast<const SavedMean&>(layer_saved);
    const ArenaScope scope(context.arena);
    const Tensor dvalue = context.Allocate(dx.shape);
    context.backend.MatMul(Transpose::kYes, Transpose::kNo, dresidual, saved.mean, 1,
                           gradients_.out);
    context.backend.MatMul(Transpose::kNo, Transpose::kNo, dresidual, weights_.out, 0, dvalue);
    // A value is in its own mean and in all later ones, those of later pieces included.
    const int64_t width = dx.shape[1];
    std::vector<float> nothing_later(static_cast<size_t>(context.batch * width), 0.0f);
    float* sums = dstate.carry.empty() ? nothing_later.data() : dstate.carry.f32();
    for (int64_t b = 0; b < context.batch; ++b) {
      for (int64_t t = context.tokens; t-- > 0;) {
        float* row = dvalue.f32() + (b * context.tokens + t) * width;
        const auto count = static_cast<float>(context.position + t + 1);
        for (int64_t i = 0; i < width; ++i) {
          sums[b * width + i] += row[i] / count;
          row[i] = sums[b * width + i];
        }
      }
    }
    context.backend.MatMul(Transpose::kYes, Transpose::kNo, dvalue, saved.x, 1, gradients_.value);
    context.backend.MatMul(Transpose::kNo, Transpose::kNo, dvalue, weights_.value, 0, dx);
  }

 private:
  const Weights weights_;
  const Weights gradients_;
};

}  // namespace

std::vector<ParameterDescription> RunningMeanKind::Parameters(const ModelConfig& c, int64_t) const {
  return {MatrixParameter("value.weight", c.d_model, c.d_model),
          MatrixParameter("out.weight", c.d_model, c.d_model,
                          Normal(0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers))))};
}

std::unique_ptr<Layer> RunningMeanKind::Make(const ModelConfig&, const ExecutionOptions&,
                                             const ParameterViews& parameters,
                                             const ParameterViews& gradients) const {
  return std::make_unique<RunningMean>(parameters, gradients);
}

}  // namespace wavefield
