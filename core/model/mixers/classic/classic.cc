#include "core/model/mixers/classic/classic.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <utility>

#include "core/model/linear.h"
#include "core/model/mixers/classic/features.h"
#include "core/model/mixers/classic/initial_values.h"
#include "core/model/mixers/shared_memory.h"
#include "core/model/mixers/wave_field/initial_values.h"

namespace wavefield {
namespace {

// Of the public implementation: softplus gives 0.41, a time constant of 2.5 tokens.
constexpr double kInitialDamping = -0.69;
constexpr double kInitialGate = 2;

struct Weights {
  explicit Weights(const ParameterViews& views)
      : damping(views["damping.bias"]),
        frequency(views["frequency"]),
        phase(views["phase"]),
        coupling(views["coupling"]),
        cross(views["cross.weight"]) {}
  Tensor damping;    // [H]
  Tensor frequency;  // [H]
  Tensor phase;      // [H]
  Tensor coupling;   // [H, H]
  Tensor cross;      // [d, d]
};

struct SavedClassic final : Layer::Saved {
  Tensor x;           // [N, D]
  Tensor qkvg;        // [N, 4D]
  Features::Saved q;  // ψ of the query
  Features::Saved k;  // ψ of the key
  Tensor qkv;         // [N, 3D]
  Tensor damping;     // [1, H]
  Tensor field;       // [N, D]
  Tensor y;           // [N, D]: read
  Tensor crossed;     // [N, D]
  Tensor z;           // [N, D]: gated
};

class Classic final : public Layer {
 public:
  Classic(const ModelConfig& config, Propagation way, const ParameterViews& parameters,
          const ParameterViews& gradients)
      : config_(config),
        way_(way),
        weights_(parameters),
        gradients_(gradients),
        qkvg_(parameters, gradients, "qkvg"),
        psi_q_(parameters, gradients, "psi_q"),
        psi_k_(parameters, gradients, "psi_k"),
        out_(parameters, gradients, "out") {}

  std::unique_ptr<Layer::Saved> Forward(const LayerContext& context, Tensor x,
                                        const LayerState& state, Tensor residual) const override {
    Backend& backend = context.backend;
    const Weights& w = weights_;
    const int64_t n = context.rows(), d_model = config_.d_model;
    auto saved = std::make_unique<SavedClassic>();
    saved->x = x;
    saved->qkvg = context.Allocate({n, 4 * d_model});
    saved->qkv = context.Allocate({n, 3 * d_model});
    saved->damping = context.AllocateFloats({1, config_.n_heads});
    for (Tensor* narrow : {&saved->field, &saved->y, &saved->crossed, &saved->z}) {
      *narrow = context.Allocate({n, d_model});
    }
    qkvg_.Forward(backend, x, 0, saved->qkvg);
    saved->q = psi_q_.Forward(context, saved->qkvg, 0, saved->qkv);
    saved->k = psi_k_.Forward(context, saved->qkvg, d_model, saved->qkv);
    backend.CopyColumns(saved->qkvg, 2 * d_model, d_model, saved->qkv, 2 * d_model);
    backend.DampingForward({}, w.damping, saved->damping);
    backend.FieldElementwiseForward(WayWith(state.carry), context.batch, saved->qkv, saved->damping,
                                    w.frequency, w.phase, state.carry, saved->field);
    backend.CoupledReadForward(saved->field, saved->qkv, w.coupling, saved->damping, saved->y);
    backend.MatMul(Transpose::kNo, Transpose::kYes, PerHead(saved->y), w.cross, 0,
                   PerHead(saved->crossed));
    backend.SigmoidGateForward(saved->crossed, saved->qkvg, saved->z);
    out_.Forward(backend, saved->z, 1, residual);
    return saved;
  }

  void Backward(const LayerContext& context, const Layer::Saved& layer_saved, Tensor dresidual,
                const LayerState& state, const LayerState& dstate, Tensor dx) const override {
    Backend& backend = context.backend;
    const auto& saved = static_cast<const SavedClassic&>(layer_saved);
    const Weights& w = weights_;
    const Weights& g = gradients_;
    const int64_t n = context.rows(), d_model = config_.d_model;
    const ArenaScope scope(context.arena);
    const Tensor dz = context.Allocate({n, d_model});
    const Tensor dy = context.Allocate({n, d_model});
    const Tensor dqkv = context.Allocate({n, 3 * d_model});
    const Tensor dqkvg = context.Allocate({n, 4 * d_model});
    const Tensor ddamping = context.AllocateFloats(saved.damping.shape);
    const Tensor dscale = context.AllocateFloats(saved.damping.shape);  // ddamping's part of n_h

    out_.Backward(backend, saved.z, dresidual, 0, dz);
    const Tensor dcrossed = dz;
    backend.SigmoidGateBackward(saved.crossed, saved.qkvg, dz, dcrossed, dqkvg);
    backend.MatMul(Transpose::kYes, Transpose::kNo, PerHead(dcrossed), PerHead(saved.y), 1,
                   g.cross);
    backend.MatMul(Transpose::kNo, Transpose::kNo, PerHead(dcrossed), w.cross, 0, PerHead(dy));
    const Tensor dfield = dz;
    backend.CoupledReadBackward(saved.field, saved.qkv, w.coupling, saved.damping, dy, dfield, dqkv,
                                g.coupling, dscale);
    backend.FieldElementwiseBackward(WayWith(state.carry), context.batch, saved.qkv, saved.damping,
                                     w.frequency, w.phase, state.carry, dfield, dstate.carry, dqkv,
                                     ddamping, g.frequency, g.phase);
    backend.Add(dscale, ddamping);
    backend.DampingBackward(saved.damping, ddamping, {}, g.damping);
    psi_q_.Backward(context, saved.q, saved.qkv, dqkv, 0, dqkvg);
    psi_k_.Backward(context, saved.k, saved.qkv, dqkv, d_model, dqkvg);
    backend.CopyColumns(dqkv, 2 * d_model, d_model, dqkvg, 2 * d_model);
    qkvg_.Backward(backend, saved.x, dqkvg, 0, dx);
  }

  std::vector<HeadHealth> Health(const LayerContext& context,
                                 const Layer::Saved& saved) const override {
    return HealthOfWaves(context.backend, static_cast<const SavedClassic&>(saved).damping,
                         weights_.frequency, weights_.phase, weights_.coupling);
  }

 private:
  Tensor PerHead(Tensor x) const {
    return x.Reshape({x.elements() / config_.head_dim(), config_.head_dim()});
  }

  // The FFT has no place for a state: the recurrence continues a sequence.
  Propagation WayWith(Tensor state) const {
    return way_ == Propagation::kFft && !state.empty() ? Propagation::kRecurrence : way_;
  }

  const ModelConfig config_;
  const Propagation way_;
  const Weights weights_;
  const Weights gradients_;
  const Linear qkvg_;
  const Features psi_q_, psi_k_;
  const Linear out_;
};

void Append(std::vector<ParameterDescription> more, std::vector<ParameterDescription>& list) {
  list.insert(list.end(), std::make_move_iterator(more.begin()),
              std::make_move_iterator(more.end()));
}

}  // namespace

std::vector<ParameterDescription> ClassicKind::Parameters(const ModelConfig& c,
                                                          int64_t layer) const {
  std::vector<ParameterDescription> list = Linear::Parameters("qkvg", 4 * c.d_model, c.d_model);
  list.back().initial = [gate = 3 * c.d_model](const RandomStream&, int64_t i) {
    return i >= gate ? kInitialGate : 0.0;
  };
  Append(Features::Parameters(c, "psi_q"), list);
  Append(Features::Parameters(c, "psi_k"), list);
  list.push_back(KernelParameter("damping.bias", {c.n_heads}, Constant(kInitialDamping)));
  list.push_back(KernelParameter("frequency", {c.n_heads}, InitialClassicFrequency(c, layer)));
  list.push_back(KernelParameter("phase", {c.n_heads}, Constant(0)));
  list.push_back(KernelParameter("coupling", {c.n_heads, c.n_heads}, InitialCoupling(c.n_heads)));
  list.push_back(SharedMatrixParameter(c, "cross.weight"));
  Append(Linear::Parameters("out", c.d_model, c.d_model,
                            Normal(0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers)))),
         list);
  return list;
}

StateSize ClassicKind::State(const ModelConfig& c) const { return {.carry = 2 * c.d_model}; }

void ClassicKind::Validate(const ModelConfig& c, ViolationList& violations) const {
  violations.OneOf("damping", c.damping, {"static"});
  violations.OneOf("deposit", c.deposit, {"elementwise"});
  if (c.d_model % 4 != 0) {
    violations.Add("d_model", fmt::format("is {}; the classic form needs a multiple of 4, since "
                                          "its interference works at a quarter of the width",
                                          c.d_model));
  }
}

void ClassicKind::ValidateForCuda(const ModelConfig& c, ViolationList& violations) const {
  RequireSharedMemory(c, "the coupled read",
                      cuda::CoupledReadBackwardShared(c.n_heads, c.head_dim()), violations);
}

std::vector<Propagation> ClassicKind::Ways(const ModelConfig&) const {
  return {Propagation::kRecurrence, Propagation::kFft, Propagation::kDirect};
}

double ClassicKind::MixingFlops(const ModelConfig& c, int64_t) const {
  return 11 * static_cast<double>(c.d_model);  // k ⊙ v, the rotation, its real part
}

std::unique_ptr<Layer> ClassicKind::Make(const ModelConfig& config, const ExecutionOptions& options,
                                         const ParameterViews& parameters,
                                         const ParameterViews& gradients) const {
  const Propagation way = options.propagation.value_or(Ways(config).front());
  return std::make_unique<Classic>(config, way, parameters, gradients);
}

}  // namespace wavefield
