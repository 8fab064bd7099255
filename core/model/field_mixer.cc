#include "core/model/field_mixer.h"

namespace wavefield {

FieldMixer::Parameters FieldMixer::Bind(const ParameterLayout& layout, Tensor flat,
                                        const std::string& prefix) {
  const auto view = [&](const char* name) { return layout.View(flat, prefix + name); };
  return {.qkvg = view("qkvg.weight"),
          .conv_weight = view("conv.weight"),
          .conv_bias = view("conv.bias"),
          .damping_weight = view("damping.weight"),
          .damping_bias = view("damping.bias"),
          .frequency = view("frequency"),
          .phase = view("phase"),
          .coupling = view("coupling"),
          .head_norm = view("head_norm.weight"),
          .out = view("out.weight")};
}

FieldMixer::Saved FieldMixer::Forward(const LayerContext& context, const Parameters& p, Tensor x,
                                      const State& state, Tensor residual) {
  Backend& backend = context.backend;
  const int64_t n = context.rows(), d_model = x.shape[1], heads = p.frequency.shape[0];
  Saved saved{.x = x,
              .qkvg = context.Allocate({n, 4 * d_model}),
              .qkv = context.Allocate({n, 3 * d_model}),
              .damping = context.Allocate({n, heads}),
              .y = context.Allocate({n, d_model}),
              .z = context.Allocate({n, d_model})};
  backend.MatMul(Transpose::kNo, Transpose::kYes, x, p.qkvg, 0, saved.qkvg);
  backend.ShortConvForward(context.batch, saved.qkvg, p.conv_weight, p.conv_bias, state.conv,
                           saved.qkv);
  backend.MatMul(Transpose::kNo, Transpose::kYes, x, p.damping_weight, 0, saved.damping);
  backend.DampingForward(saved.damping, p.damping_bias, saved.damping);
  backend.FieldOuterForward(context.batch, saved.qkv, saved.damping, p.frequency, p.phase,
                            state.field, saved.y);
  backend.FieldReadoutForward(saved.y, p.coupling, p.head_norm, saved.qkvg, saved.z);
  backend.MatMul(Transpose::kNo, Transpose::kYes, saved.z, p.out, 1, residual);
  return saved;
}

void FieldMixer::Backward(const LayerContext& context, const Parameters& p, const Saved& saved,
                          Tensor dresidual, Tensor dx, const Parameters& gradients) {
  Backend& backend = context.backend;
  const int64_t n = context.rows(), d_model = dx.shape[1], heads = p.frequency.shape[0];
  const ArenaScope scope(context.arena);
  const Tensor dz = context.Allocate({n, d_model});
  const Tensor dy = context.Allocate({n, d_model});
  const Tensor dqkv = context.Allocate({n, 3 * d_model});
  const Tensor dqkvg = context.Allocate({n, 4 * d_model});
  const Tensor ddamping = context.Allocate({n, heads});

  backend.MatMul(Transpose::kYes, Transpose::kNo, dresidual, saved.z, 1, gradients.out);
  backend.MatMul(Transpose::kNo, Transpose::kNo, dresidual, p.out, 0, dz);
  backend.FieldReadoutBackward(saved.y, p.coupling, p.head_norm, saved.qkvg, dz, dy, dqkvg,
                               gradients.coupling, gradients.head_norm);
  backend.FieldOuterBackward(context.batch, saved.qkv, saved.damping, p.frequency, p.phase, dy,
                             dqkv, ddamping, gradients.frequency, gradients.phase);
  backend.DampingBackward(saved.damping, ddamping, ddamping, gradients.damping_bias);
  backend.ShortConvBackward(context.batch, saved.qkvg, p.conv_weight, p.conv_bias, dqkv, dqkvg,
                            gradients.conv_weight, gradients.conv_bias);

  backend.MatMul(Transpose::kYes, Transpose::kNo, ddamping, saved.x, 1, gradients.damping_weight);
  backend.MatMul(Transpose::kYes, Transpose::kNo, dqkvg, saved.x, 1, gradients.qkvg);
  backend.MatMul(Transpose::kNo, Transpose::kNo, ddamping, p.damping_weight, 0, dx);
  backend.MatMul(Transpose::kNo, Transpose::kNo, dqkvg, p.qkvg, 1, dx);
}

}  // namespace wavefield
