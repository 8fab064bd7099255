#include <cmath>
#include <iterator>

#include "core/model/feed_forward/feed_forward.h"
#include "core/model/linear.h"

namespace wavefield {
namespace {

struct SavedGelu final : Layer::Saved {
  Tensor x;       // [N, D]
  Tensor up;      // [N, F]
  Tensor hidden;  // [N, F]
};

class Gelu final : public Layer {
 public:
  Gelu(int64_t d_ff, const ParameterViews& parameters, const ParameterViews& gradients)
      : d_ff_(d_ff), up_(parameters, gradients, "up"), down_(parameters, gradients, "down") {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x, const LayerState&,
                                        Tensor residual) const override {
    Backend& backend = context.backend;
    auto saved = std::make_unique<SavedGelu>();
    saved->x = x;
    saved->up = context.Allocate({context.rows(), d_ff_});
    saved->hidden = context.Allocate({context.rows(), d_ff_});
    up_.Forward(backend, x, 0, saved->up);
    backend.GeluForward(saved->up, saved->hidden);
    down_.Forward(backend, saved->hidden, 1, residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState&, const LayerState&, Tensor dx) const override {
    Backend& backend = context.backend;
    const auto& saved = static_cast<const SavedGelu&>(layer_saved);
    const ArenaScope scope(context.arena);
    const Tensor dhidden = context.Allocate(saved.hidden.shape);
    down_.Backward(backend, saved.hidden, dresidual, 0, dhidden);
    const Tensor dup = dhidden;
    backend.GeluBackward(saved.up, dhidden, dup);
    up_.Backward(backend, saved.x, dup, 0, dx);
  }

 private:
  const int64_t d_ff_;
  const Linear up_, down_;
};

class GeluKind final : public LayerKind {
 public:
  std::vector<ParameterDescription> Parameters(const ModelConfig& c, int64_t) const override {
    auto list = Linear::Parameters("up", c.d_ff, c.d_model);
    auto down = Linear::Parameters("down", c.d_model, c.d_ff,
                                   Normal(0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers))));
    list.insert(list.end(), std::make_move_iterator(down.begin()),
                std::make_move_iterator(down.end()));
    return list;
  }
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions&,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override {
    return std::make_unique<Gelu>(config.d_ff, parameters, gradients);
  }
};

}  // namespace

const LayerKind& GeluFeedForward() {
  static const GeluKind kind;
  return kind;
}

}  // namespace wavefield
