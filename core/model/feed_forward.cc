#include "core/model/feed_forward.h"

namespace wavefield {

FeedForward::Parameters FeedForward::Bind(const ParameterLayout& layout, Tensor flat,
                                          const std::string& prefix) {
  Tensor gate_up = layout.View(flat, prefix + "gate.weight");
  const Tensor up = layout.View(flat, prefix + "up.weight");
  WF_CHECK(up.f32() == gate_up.f32() + gate_up.elements());
  gate_up.shape = {2 * gate_up.shape[0], gate_up.shape[1]};
  return {.gate_up = gate_up, .down = layout.View(flat, prefix + "down.weight")};
}

FeedForward::Saved FeedForward::Forward(const LayerContext& context, const Parameters& p, Tensor x,
                                        Tensor residual) {
  Backend& backend = context.backend;
  const int64_t n = context.rows(), d_ff = p.down.shape[1];
  Saved saved{
      .x = x, .gate_up = context.Allocate({n, 2 * d_ff}), .hidden = context.Allocate({n, d_ff})};
  backend.MatMul(Transpose::kNo, Transpose::kYes, x, p.gate_up, 0, saved.gate_up);
  backend.SwiGluForward(saved.gate_up, saved.hidden);
  backend.MatMul(Transpose::kNo, Transpose::kYes, saved.hidden, p.down, 1, residual);
  return saved;
}

void FeedForward::Backward(const LayerContext& context, const Parameters& p, const Saved& saved,
                           Tensor dresidual, Tensor dx, const Parameters& gradients) {
  Backend& backend = context.backend;
  const ArenaScope scope(context.arena);
  const Tensor dhidden = context.Allocate(saved.hidden.shape);
  backend.MatMul(Transpose::kYes, Transpose::kNo, dresidual, saved.hidden, 1, gradients.down);
  backend.MatMul(Transpose::kNo, Transpose::kNo, dresidual, p.down, 0, dhidden);
  backend.SwiGluBackward(saved.gate_up, dhidden, saved.gate_up);
  backend.MatMul(Transpose::kYes, Transpose::kNo, saved.gate_up, saved.x, 1, gradients.gate_up);
  backend.MatMul(Transpose::kNo, Transpose::kNo, saved.gate_up, p.gate_up, 0, dx);
}

}  // namespace wavefield
