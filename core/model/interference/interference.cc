#include "core/model/interference/interference.h"

#include <iterator>

#include "core/model/linear.h"

namespace wavefield {
namespace {

int64_t CompressedWidth(const ModelConfig& c) { return c.d_model / 4; }

struct SavedInterference final : Layer::Saved {
  Tensor x;     // [N, D]
  Tensor mean;  // [N, D/4]
  Tensor echo;  // [N, D]
  Tensor near;  // [N, D]: local(x)
  Tensor far;   // [N, D]: global(echo)
  Tensor both;  // [N, 2D]: [x | echo]
  Tensor gate;  // [N, D]
};

class InterferenceLayer final : public Layer {
 public:
  InterferenceLayer(const ModelConfig& config, const ParameterViews& parameters,
                    const ParameterViews& gradients)
      : config_(config),
        compress_(parameters, gradients, "compress"),
        expand_(parameters, gradients, "expand"),
        local_(parameters, gradients, "local"),
        global_(parameters, gradients, "global"),
        gate_(parameters, gradients, "gate"),
        temperature_(parameters["temperature"]),
        dtemperature_(gradients["temperature"]) {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x,
                                        const LayerState& state, Tensor residual) const override {
    Backend& backend = context.backend;
    const int64_t n = context.rows(), d_model = config_.d_model;
    auto saved = std::make_unique<SavedInterference>();
    saved->x = x;
    saved->mean = context.Allocate({n, CompressedWidth(config_)});
    for (Tensor* wide : {&saved->echo, &saved->near, &saved->far, &saved->gate}) {
      *wide = context.Allocate({n, d_model});
    }
    saved->both = context.Allocate({n, 2 * d_model});
    compress_.Forward(backend, x, 0, saved->mean);
    backend.CumulativeMeanForward(context.batch, context.position, saved->mean, state.carry,
                                  saved->mean);
    expand_.Forward(backend, saved->mean, 0, saved->echo);
    local_.Forward(backend, x, 0, saved->near);
    global_.Forward(backend, saved->echo, 0, saved->far);
    backend.CopyColumns(x, 0, d_model, saved->both, 0);
    backend.CopyColumns(saved->echo, 0, d_model, saved->both, d_model);
    gate_.Forward(backend, saved->both, 0, saved->gate);
    backend.InterferenceForward(saved->near, saved->far, saved->echo, saved->gate, temperature_,
                                residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState&, const LayerState& dstate, Tensor dx) const override {
    Backend& backend = context.backend;
    const auto& saved = static_cast<const SavedInterference&>(layer_saved);
    const int64_t n = context.rows(), d_model = config_.d_model;
    const ArenaScope scope(context.arena);
    const Tensor decho = context.Allocate({n, d_model});
    const Tensor half = context.Allocate({n, d_model});
    const Tensor dboth = context.Allocate({n, 2 * d_model});
    const Tensor dmean = context.Allocate(saved.mean.shape);
    const Tensor dnear = saved.near, dfar = saved.far, dgate = saved.gate;
    backend.InterferenceBackward(saved.near, saved.far, saved.echo, saved.gate, temperature_,
                                 dresidual, dnear, dfar, decho, dgate, dtemperature_);
    gate_.Backward(backend, saved.both, dgate, 0, dboth);
    global_.Backward(backend, saved.echo, dfar, 1, decho);
    backend.CopyColumns(dboth, d_model, d_model, half, 0);
    backend.Add(half, decho);
    expand_.Backward(backend, saved.mean, decho, 0, dmean);
    backend.CumulativeMeanBackward(context.batch, context.position, dmean, dstate.carry, dmean);
    backend.CopyColumns(dboth, 0, d_model, dx, 0);
    compress_.Backward(backend, saved.x, dmean, 1, dx);
    local_.Backward(backend, saved.x, dnear, 1, dx);
  }

 private:
  const ModelConfig config_;
  const Linear compress_, expand_, local_, global_, gate_;
  const Tensor temperature_, dtemperature_;  // [1]
};

class InterferenceKind final : public LayerKind {
 public:
  std::vector<ParameterDescription> Parameters(const ModelConfig& c, int64_t layer) const override {
    const int64_t d = c.d_model, quarter = CompressedWidth(c);
    std::vector<ParameterDescription> list;
    const auto add = [&](const char* name, int64_t out, int64_t in) {
      auto linear = Linear::Parameters(name, out, in);
      list.insert(list.end(), std::make_move_iterator(linear.begin()),
                  std::make_move_iterator(linear.end()));
    };
    add("compress", quarter, d);
    add("expand", d, quarter);
    add("local", d, d);
    add("global", d, d);
    add("gate", d, 2 * d);
    const bool even = layer / 3 % 2 == 0;
    list.push_back(VectorParameter("temperature", {1}, even ? -2 : 0.5));
    return list;
  }
  StateSize State(const ModelConfig& c) const override { return {.carry = CompressedWidth(c)}; }
  std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions&,
                              const ParameterViews& parameters,
                              const ParameterViews& gradients) const override {
    return std::make_unique<InterferenceLayer>(config, parameters, gradients);
  }
};

}  // namespace

const LayerKind& Interference() {
  static const InterferenceKind kind;
  return kind;
}

}  // namespace wavefield
