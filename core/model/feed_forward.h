#pragma once

#include "core/model/layer.h"
#include "core/model/parameters.h"

namespace wavefield {

// SwiGLU feed-forward: down(silu(gate(x)) ⊙ up(x)), no biases (Shazeer, arXiv 2002.05202).
struct FeedForward {
  struct Parameters {
    Tensor gate_up;  // [2F, D]: gate above up
    Tensor down;     // [D, F]
  };
  static Parameters Bind(const ParameterLayout& layout, Tensor flat, const std::string& prefix);

  struct Saved {
    Tensor x;        // [N, D]
    Tensor gate_up;  // [N, 2F]
    Tensor hidden;   // [N, F]
  };

  // residual [N, D] += feed_forward(x); x [N, D].
  static Saved Forward(const LayerContext& context, const Parameters& parameters, Tensor x,
                       Tensor residual);
  // dx [N, D] = gradient with respect to x. Overwrites saved.gate_up.
  static void Backward(const LayerContext& context, const Parameters& parameters,
                       const Saved& saved, Tensor dresidual, Tensor dx,
                       const Parameters& gradients);
};

}  // namespace wavefield
