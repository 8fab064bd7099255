#pragma once

#include <cstdint>
#include <optional>

#include "core/backend/backend.h"

namespace wavefield {

// What is thrown away after the forward pass and computed again in the backward pass.
enum class Recompute { kNone, kMixer, kBlock };

// How a model is computed: nothing here changes what it is a model of, nor its parameters.
struct ExecutionOptions {
  // fp32 or bf16, what the backend can; parameters, gradients of them and states are fp32 always.
  DType activations = DType::kFloat32;
  // Empty: the mixer's own choice. Layers that know one way only ignore it.
  std::optional<Propagation> propagation;
  Recompute recompute = Recompute::kNone;
  // Tokens of the pieces in which a window is computed, with the state carried from one to the next
  // and exact gradients: memory then depends on the piece, not on the window. 0: the whole window.
  int64_t sequence_chunk = 0;
  // Probability that an element of the embedding's or a branch's output is dropped in training.
  float dropout = 0;
  LossOptions loss;
};

}  // namespace wavefield
