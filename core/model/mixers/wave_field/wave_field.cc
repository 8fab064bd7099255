#include "core/model/mixers/wave_field/wave_field.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/model/mixers/shared_memory.h"
#include "core/model/mixers/wave_field/initial_values.h"

namespace wavefield {
namespace {

bool Selective(const ModelConfig& c) { return c.damping == "selective"; }
bool Outer(const ModelConfig& c) { return c.deposit == "outer"; }

struct Weights {
  explicit Weights(const ParameterViews& views, bool selective)
      : qkvg(views["qkvg.weight"]),
        conv_weight(views["conv.weight"]),
        conv_bias(views["conv.bias"]),
        damping_weight(selective ? views["damping.weight"] : Tensor{}),
        damping_bias(views["damping.bias"]),
        frequency(views["frequency"]),
        phase(views["phase"]),
        coupling(views["coupling"]),
        head_norm(views["head_norm.weight"]),
        out(views["out.weight"]) {}
  Tensor qkvg;            // [4D, D]
  Tensor conv_weight;     // [3D, W]
  Tensor conv_bias;       // [3D]
  Tensor damping_weight;  // [H, D], empty when damping is static
  Tensor damping_bias;    // [H]
  Tensor frequency;       // [H]
  Tensor phase;           // [H]
  Tensor coupling;        // [H, H]
  Tensor head_norm;       // [D]
  Tensor out;             // [D, D]
};

struct SavedField final : Layer::Saved {
  Tensor x;        // [N, D]
  Tensor qkvg;     // [N, 4D]
  Tensor qkv;      // [N, 3D]
  Tensor damping;  // [N, H] or [1, H]
  Tensor y;        // [N, D]
  Tensor z;        // [N, D]
};

struct State {
  Tensor conv;   // [B, W−1, 3D]
  Tensor field;  // outer [B, H, 2d, d], elementwise [B, H, 2, d]
};

class WaveField final : public Layer {
 public:
  WaveField(const ModelConfig& config, Propagation way, const ParameterViews& parameters,
            const ParameterViews& gradients)
      : config_(config),
        way_(way),
        weights_(parameters, Selective(config)),
        gradients_(gradients, Selective(config)) {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x,
                                        const LayerState& layer_state,
                                        Tensor residual) const override {
    Backend& backend = context.backend;
    const Weights& w = weights_;
    const State state = Split(context.batch, layer_state.carry);
    const int64_t n = context.rows(), d_model = config_.d_model, heads = config_.n_heads;
    auto saved = std::make_unique<SavedField>();
    saved->x = x;
    saved->qkvg = context.Allocate({n, 4 * d_model});
    saved->qkv = context.Allocate({n, 3 * d_model});
    saved->damping = context.AllocateFloats({Selective(config_) ? n : 1, heads});
    saved->y = context.Allocate({n, d_model});
    saved->z = context.Allocate({n, d_model});
    backend.MatMul(Transpose::kNo, Transpose::kYes, x, w.qkvg, 0, saved->qkvg);
    backend.ShortConvForward(context.batch, saved->qkvg, w.conv_weight, w.conv_bias, state.conv,
                             saved->qkv);
    if (Selective(config_)) {
      backend.MatMul(Transpose::kNo, Transpose::kYes, x, w.damping_weight, 0, saved->damping);
    }
    backend.DampingForward(Selective(config_) ? saved->damping : Tensor{}, w.damping_bias,
                           saved->damping);
    if (Outer(config_)) {
      backend.FieldOuterForward(way_, context.batch, saved->qkv, saved->damping, w.frequency,
                                w.phase, state.field, saved->y);
    } else {
      backend.FieldElementwiseForward(WayWith(state.field), context.batch, saved->qkv,
                                      saved->damping, w.frequency, w.phase, state.field, saved->y);
    }
    backend.FieldReadoutForward(saved->y, ReadBy(saved->qkv), w.coupling, w.head_norm, saved->qkvg,
                                saved->z);
    backend.MatMul(Transpose::kNo, Transpose::kYes, saved->z, w.out, 1, residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState& layer_state, const LayerState& layer_dstate,
                Tensor dx) const override {
    Backend& backend = context.backend;
    const auto& saved = static_cast<const SavedField&>(layer_saved);
    const Weights& w = weights_;
    const Weights& g = gradients_;
    const State state = Split(context.batch, layer_state.carry);
    const State dstate = Split(context.batch, layer_dstate.carry);
    const int64_t n = context.rows(), d_model = config_.d_model;
    const ArenaScope scope(context.arena);
    const Tensor dz = context.Allocate({n, d_model});
    const Tensor dy = context.Allocate({n, d_model});
    const Tensor dqkv = context.Allocate({n, 3 * d_model});
    const Tensor dqkvg = context.Allocate({n, 4 * d_model});
    const Tensor ddamping = context.AllocateFloats(saved.damping.shape);

    backend.MatMul(Transpose::kYes, Transpose::kNo, dresidual, saved.z, 1, g.out);
    backend.MatMul(Transpose::kNo, Transpose::kNo, dresidual, w.out, 0, dz);
    backend.FieldReadoutBackward(saved.y, ReadBy(saved.qkv), w.coupling, w.head_norm, saved.qkvg,
                                 dz, dy, ReadBy(dqkv), dqkvg, g.coupling, g.head_norm);
    if (Outer(config_)) {
      backend.FieldOuterBackward(way_, context.batch, saved.qkv, saved.damping, w.frequency,
                                 w.phase, state.field, dy, dstate.field, dqkv, ddamping,
                                 g.frequency, g.phase);
    } else {
      backend.FieldElementwiseBackward(WayWith(state.field), context.batch, saved.qkv,
                                       saved.damping, w.frequency, w.phase, state.field, dy,
                                       dstate.field, dqkv, ddamping, g.frequency, g.phase);
    }
    backend.DampingBackward(saved.damping, ddamping, Selective(config_) ? ddamping : Tensor{},
                            g.damping_bias);
    backend.ShortConvBackward(context.batch, saved.qkvg, w.conv_weight, w.conv_bias, state.conv,
                              dqkv, dstate.conv, dqkvg, g.conv_weight, g.conv_bias);

    backend.MatMul(Transpose::kYes, Transpose::kNo, dqkvg, saved.x, 1, g.qkvg);
    backend.MatMul(Transpose::kNo, Transpose::kNo, dqkvg, w.qkvg, 0, dx);
    if (Selective(config_)) {
      backend.MatMul(Transpose::kYes, Transpose::kNo, ddamping, saved.x, 1, g.damping_weight);
      backend.MatMul(Transpose::kNo, Transpose::kNo, ddamping, w.damping_weight, 1, dx);
    }
  }

  std::vector<HeadHealth> Health(const LayerContext& context,
                                 const Layer::Saved& saved) const override {
    return HealthOfWaves(context.backend, static_cast<const SavedField&>(saved).damping,
                         weights_.frequency, weights_.phase, weights_.coupling);
  }

 private:
  State Split(int64_t batch, Tensor carry) const {
    if (carry.empty()) return {};
    const int64_t conv = batch * (config_.conv_width - 1) * 3 * config_.d_model;
    const Tensor flat = carry.Reshape({carry.elements()});
    return {.conv = conv > 0 ? flat.Rows(0, conv) : Tensor{},
            .field = flat.Rows(conv, carry.elements())};
  }

  // What multiplies the field as it is read: q, when deposits are elementwise.
  Tensor ReadBy(Tensor qkv) const { return Outer(config_) ? Tensor{} : qkv; }

  // The FFT has no place for a state: the recurrence continues a sequence.
  Propagation WayWith(Tensor state) const {
    return way_ == Propagation::kFft && !state.empty() ? Propagation::kRecurrence : way_;
  }

  const ModelConfig config_;
  const Propagation way_;
  const Weights weights_;
  const Weights gradients_;
};

}  // namespace

std::vector<ParameterDescription> WaveFieldKind::Parameters(const ModelConfig& c, int64_t) const {
  const double conv_bound = 1.0 / std::sqrt(static_cast<double>(c.conv_width));
  std::vector<ParameterDescription> list;
  list.push_back(MatrixParameter("qkvg.weight", 4 * c.d_model, c.d_model));
  list.push_back({"conv.weight",
                  {3 * c.d_model, c.conv_width},
                  ParameterGroup::kVector,
                  false,
                  0,
                  Uniform(conv_bound)});
  list.push_back(VectorParameter("conv.bias", {3 * c.d_model}, 0));
  if (Selective(c)) {
    list.push_back(
        {"damping.weight", {c.n_heads, c.d_model}, ParameterGroup::kKernel, false, 1, Constant(0)});
  }
  list.push_back(KernelParameter("damping.bias", {c.n_heads}, InitialDampingBias(c.n_heads)));
  list.push_back(KernelParameter("frequency", {c.n_heads}, InitialFrequency(c.n_heads)));
  list.push_back(KernelParameter("phase", {c.n_heads}, Constant(0)));
  list.push_back(KernelParameter("coupling", {c.n_heads, c.n_heads}, InitialCoupling(c.n_heads)));
  list.push_back(VectorParameter("head_norm.weight", {c.d_model}, 1));
  list.push_back(MatrixParameter("out.weight", c.d_model, c.d_model,
                                 Normal(0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers)))));
  return list;
}

StateSize WaveFieldKind::State(const ModelConfig& c) const {
  const int64_t conv = (c.conv_width - 1) * 3 * c.d_model;
  const int64_t field = 2 * c.d_model * (Outer(c) ? c.head_dim() : 1);
  return {.carry = conv + field};
}

void WaveFieldKind::Validate(const ModelConfig& c, ViolationList& violations) const {
  violations.OneOf("damping", c.damping, {"selective", "static"});
  violations.OneOf("deposit", c.deposit, {"outer", "elementwise"});
}

void WaveFieldKind::ValidateForCuda(const ModelConfig& c, ViolationList& violations) const {
  RequireSharedMemory(c, "reading the fields", cuda::ReadoutBackwardShared(c.n_heads, c.head_dim()),
                      violations);
}

std::vector<Propagation> WaveFieldKind::Ways(const ModelConfig& c) const {
  if (Outer(c)) return {Propagation::kChunked, Propagation::kDirect};
  if (Selective(c)) return {Propagation::kRecurrence, Propagation::kDirect};
  return {Propagation::kRecurrence, Propagation::kFft, Propagation::kDirect};
}

double WaveFieldKind::MixingFlops(const ModelConfig& c, int64_t tokens) const {
  const auto width = static_cast<double>(c.d_model), d = static_cast<double>(c.head_dim());
  if (!Outer(c)) return 11 * width;  // u, the rotation, its real part
  // Within chunks of 64 tokens: scores and their product with v; between them: read, feed.
  const auto chunk = static_cast<double>(std::min<int64_t>(tokens, 64));
  return width * (4 * chunk + 8 * d);
}

std::unique_ptr<Layer> WaveFieldKind::Make(const ModelConfig& config,
                                           const ExecutionOptions& options,
                                           const ParameterViews& parameters,
                                           const ParameterViews& gradients) const {
  const Propagation way = options.propagation.value_or(Ways(config).front());
  return std::make_unique<WaveField>(config, way, parameters, gradients);
}

}  // namespace wavefield
