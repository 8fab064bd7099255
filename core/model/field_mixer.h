#pragma once

#include "core/model/config/model_config.h"
#include "core/model/layer.h"
#include "core/model/parameters.h"

namespace wavefield {

// The token mixer of the modern form, selective damping and outer deposits (docs/model.md).
struct FieldMixer {
  struct Parameters {
    Tensor qkvg;            // [4D, D]
    Tensor conv_weight;     // [3D, W]
    Tensor conv_bias;       // [3D]
    Tensor damping_weight;  // [H, D]
    Tensor damping_bias;    // [H]
    Tensor frequency;       // [H]
    Tensor phase;           // [H]
    Tensor coupling;        // [H, H]
    Tensor head_norm;       // [D]
    Tensor out;             // [D, D]
  };
  static Parameters Bind(const ParameterLayout& layout, Tensor flat, const std::string& prefix);

  // What a sequence leaves behind for its continuation; empty tensors in training.
  struct State {
    Tensor conv;   // [B, W−1, 3D]
    Tensor field;  // [B, H, 2, d, d]
  };

  struct Saved {
    Tensor x;        // [N, D]
    Tensor qkvg;     // [N, 4D]
    Tensor qkv;      // [N, 3D]
    Tensor damping;  // [N, H]
    Tensor y;        // [N, D]
    Tensor z;        // [N, D]
  };

  // residual [N, D] += mixer(x); x [N, D]. `state` is advanced if its tensors are not empty.
  static Saved Forward(const LayerContext& context, const Parameters& parameters, Tensor x,
                       const State& state, Tensor residual);
  // dx [N, D] = gradient with respect to x, given that of the residual stream; empty initial state.
  static void Backward(const LayerContext& context, const Parameters& parameters,
                       const Saved& saved, Tensor dresidual, Tensor dx,
                       const Parameters& gradients);
};

}  // namespace wavefield
