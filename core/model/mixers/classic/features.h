#pragma once

#include <string>
#include <vector>

#include "core/model/layer.h"
#include "core/model/linear.h"

namespace wavefield {

// ψ(x) + 1e-6, ψ(x) = relu(A₁ gelu(A₀ x + b₀) + b₁): what queries and keys of the classic form
// become, never 0. One ψ serves all heads.
class Features {
 public:
  // `name`.0 and `name`.1; ψ starts as the identity before its functions.
  static std::vector<ParameterDescription> Parameters(const ModelConfig& config,
                                                      const std::string& name);

  // What Backward needs besides the features.
  struct Saved {
    Tensor x;       // [N, D]
    Tensor inner;   // [N, D], before GELU
    Tensor hidden;  // [N, D]
  };

  Features(const ParameterViews& parameters, const ParameterViews& gradients,
           const std::string& name);

  // Columns [column, column + D) of qkv [N, 3D] = the features of those of qkvg [N, 4D].
  Saved Forward(const LayerContext& context, Tensor qkvg, int64_t column, Tensor qkv) const;
  // The columns of dqkvg =, the others are left alone.
  void Backward(const LayerContext& context, const Saved& saved, Tensor qkv, Tensor dqkv,
                int64_t column, Tensor dqkvg) const;

 private:
  Linear first_, second_;
};

}  // namespace wavefield
