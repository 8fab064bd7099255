#pragma once

#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/model/parameters.h"

namespace wavefield {

// y = x · weightᵀ + bias. Where the backend wants row-wise [N, in] and [N, out], any tensors of so
// many elements do: heads that share a layer are rows of their own.
class Linear {
 public:
  // `name`.weight and `name`.bias, a matrix that decays and a bias of 0.
  static std::vector<ParameterDescription> Parameters(const std::string& name, int64_t out,
                                                      int64_t in,
                                                      const InitialValue& initial = Normal(0.02));

  Linear(const ParameterViews& parameters, const ParameterViews& gradients,
         const std::string& name);

  // y = linear(x) + beta · y; beta is 0 or 1.
  void Forward(Backend& backend, Tensor x, float beta, Tensor y) const;
  // dx = gradient + beta · dx; the parameters' gradients +=.
  void Backward(Backend& backend, Tensor x, Tensor dy, float beta, Tensor dx) const;

 private:
  Tensor weight_, bias_;  // [out, in], [out]
  Tensor dweight_, dbias_;
};

}  // namespace wavefield
