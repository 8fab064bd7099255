#pragma once

#include "core/model/layer.h"

namespace wavefield {

// Sums over the target positions of a batch.
struct LossSums {
  double loss = 0;      // Σ −log softmax(logits)[target], nats
  int64_t tokens = 0;   // targets ≥ 0
  int64_t correct = 0;  // argmax = target
  LossSums& operator+=(const LossSums& other);
};

// Cross entropy of the tied head. Logits exist for a slice of rows at a time, never more than
// kLogitsSliceElements of them.
inline constexpr int64_t kLogitsSliceElements = 8 << 20;

// x [N, D]; embedding [V, D]; targets [N] int32 on the device, −1 = not counted.
LossSums TiedLossForward(const LayerContext& context, Tensor x, Tensor embedding, Tensor targets);

// The same sums, and dx [N, D] = scale · gradient of the summed objective, which `options` may add
// to; dembedding [V, D] += likewise.
LossSums TiedLossForwardBackward(const LayerContext& context, Tensor x, Tensor embedding,
                                 Tensor targets, float scale, Tensor dx, Tensor dembedding,
                                 const LossOptions& options = {});

}  // namespace wavefield
