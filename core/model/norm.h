#pragma once

#include <vector>

#include "core/model/layer.h"
#include "core/model/parameters.h"

namespace wavefield {

// The norm before a branch and before the head: rms or layer, as the skeleton wants it
// (docs/model.md, "Skeleton").
class Norm {
 public:
  static std::vector<ParameterDescription> Parameters(const ModelConfig& config);

  // What Backward needs besides x.
  struct Saved {
    Tensor mean;     // [N], empty for rms
    Tensor inverse;  // [N]: 1 / root mean square, or 1 / standard deviation
  };

  Norm(const ModelConfig& config, const ParameterViews& parameters,
       const ParameterViews& gradients);

  // y [N, D] = norm(x); x [N, D].
  Saved Forward(const LayerContext& context, Tensor x, Tensor y) const;
  // dx [N, D] = residual + gradient; residual is empty (0) or [N, D] and may be dx itself.
  void Backward(const LayerContext& context, const Saved& saved, Tensor x, Tensor dy,
                Tensor residual, Tensor dx) const;

 private:
  bool centers_;   // layer norm
  Tensor weight_;  // [D]
  Tensor bias_;    // [D], empty for rms
  Tensor dweight_, dbias_;
};

}  // namespace wavefield
