#pragma once

// What every layer follows.
//
// A layer is one residual branch: Forward adds its output to the residual stream. Forward returns
// what Backward needs, as a typed struct; nothing is kept in members. Parameter gradients
// accumulate
// (+=), activation gradients overwrite (=). Saved tensors live in the context's arena: they are
// dead once it is released or reset. `x`, `residual`, their gradients and what is computed in
// between are activations, of the context's type; parameters, their gradients, states and what
// backend.h calls fp32 are fp32.
//
// State. A sequence may come in pieces; what its earlier tokens left behind is the layer's state.
// Forward reads and advances it. Backward takes the state as it was before the piece, and turns the
// gradient with respect to the state after the piece into that with respect to the state before it,
// in place. Generation is Forward over one token with a state.

#include <memory>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/model/config/execution.h"
#include "core/model/config/model_config.h"
#include "core/model/field_health.h"
#include "core/model/parameters.h"
#include "core/tensor/arena.h"

namespace wavefield {

// Where one pass over B sequences, or pieces of sequences, of T tokens runs.
struct LayerContext {
  Backend& backend;
  Arena& arena;
  int64_t batch;         // B
  int64_t tokens;        // T, of the piece
  int64_t position = 0;  // tokens of each sequence before the piece
  DType activations = DType::kFloat32;

  int64_t rows() const { return batch * tokens; }  // N
  // An activation, and what is fp32 whatever activations are.
  Tensor Allocate(Shape shape) const { return arena.Allocate(shape, activations); }
  Tensor AllocateFloats(Shape shape) const { return arena.Allocate(shape); }
};

// How large a layer's state is, in floats per sequence.
struct StateSize {
  int64_t carry = 0;    // of a size that does not depend on how long the sequence was
  int64_t history = 0;  // per token of the past: only ever appended to
};

// All sequences of a batch. Empty tensors: no past, and none is kept.
struct LayerState {
  Tensor carry;    // [B · StateSize::carry], laid out as the layer likes
  Tensor history;  // [B, capacity, StateSize::history]; rows < context.position are filled
};

class Layer {
 public:
  struct Saved {
    virtual ~Saved() = default;
  };
  virtual ~Layer() = default;

  // residual [N, D] += layer(x); x [N, D] may not be `residual`.
  virtual std::unique_ptr<Saved> Forward(const LayerContext& context, Tensor x,
                                         const LayerState& state, Tensor residual) const = 0;
  // dx [N, D] = gradient with respect to x, given that of the residual stream. May overwrite what
  // `saved` holds. `dstate` is empty without a state. REQUIRES: made with gradients.
  virtual void Backward(const LayerContext& context, const Saved& saved, Tensor dresidual,
                        const LayerState& state, const LayerState& dstate, Tensor dx) const = 0;
  // The heads as they were in the pass that returned `saved`; empty if it has no waves.
  virtual std::vector<HeadHealth> Health(const LayerContext&, const Saved&) const { return {}; }
};

// A kind of layer: what it needs, and how to make one. Kinds are constants; thread-safe.
class LayerKind {
 public:
  virtual ~LayerKind() = default;

  // The parameters of layer `layer`, in the order in which they lie in the flat buffer.
  virtual std::vector<ParameterDescription> Parameters(const ModelConfig& config,
                                                       int64_t layer) const = 0;
  virtual StateSize State(const ModelConfig&) const { return {}; }
  // A layer over these parameters; `gradients` are empty tensors when it is never to run backward.
  virtual std::unique_ptr<Layer> Make(const ModelConfig& config, const ExecutionOptions& options,
                                      const ParameterViews& parameters,
                                      const ParameterViews& gradients) const = 0;
};

}  // namespace wavefield
