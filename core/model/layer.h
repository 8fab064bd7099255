#pragma once

// What every layer follows.
//
// Forward returns what Backward needs, as a typed struct; nothing is kept in members. Parameter
// gradients accumulate (+=), activation gradients overwrite (=). A layer's parameters and their
// gradients are the same struct of tensors, made from the flat parameter and gradient buffers.
// Saved tensors live in the context's arena: they are dead once it is released or reset.

#include "core/backend/backend.h"
#include "core/tensor/arena.h"

namespace wavefield {

// Where one pass over B sequences of T tokens runs.
struct LayerContext {
  Backend& backend;
  Arena& arena;
  int64_t batch;   // B
  int64_t tokens;  // T

  int64_t rows() const { return batch * tokens; }  // N
  Tensor Allocate(Shape shape) const { return arena.Allocate(shape); }
};

}  // namespace wavefield
