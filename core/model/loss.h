#pragma once

#include <cstdint>
#include <span>

#include "core/model/layer.h"

namespace wavefield {

// Sums over the target positions of a batch.
struct LossSums {
  double loss = 0;      // Σ −log softmax(logits)[target], nats
  int64_t tokens = 0;   // targets ≥ 0
  int64_t correct = 0;  // argmax = target
  LossSums& operator+=(const LossSums& other);
};

// Cross entropy of the tied head. Logits exist for a slice of rows at a time, never more than so
// many of them. Slices of bf16 are larger: each of them rounds the whole embedding, which has to be
// little beside its products.
inline constexpr int64_t kLogitsSliceElements = 8 << 20;
inline constexpr int64_t kBFloat16LogitsSliceElements = 128 << 20;

// x [N, D]; embedding [V, D]; targets [N] on the host, −1 = not counted. Waits for the backend
// once all is asked for, not between slices.
LossSums TiedLossForward(const LayerContext& context, Tensor x, Tensor embedding,
                         std::span<const int32_t> targets);

// The same sums, and dx [N, D] = scale · gradient of the summed objective, which `options` may add
// to; dembedding [V, D] += likewise.
LossSums TiedLossForwardBackward(const LayerContext& context, Tensor x, Tensor embedding,
                                 std::span<const int32_t> targets, float scale, Tensor dx,
                                 Tensor dembedding, const LossOptions& options = {});

}  // namespace wavefield
