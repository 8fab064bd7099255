#include "core/model/linear.h"

namespace wavefield {
namespace {

Tensor AsRows(Tensor tensor, int64_t width) {
  return tensor.Reshape({tensor.elements() / width, width});
}

}  // namespace

std::vector<ParameterDescription> Linear::Parameters(const std::string& name, int64_t out,
                                                     int64_t in, const InitialValue& initial) {
  return {MatrixParameter(name + ".weight", out, in, initial),
          VectorParameter(name + ".bias", {out}, 0)};
}

Linear::Linear(const ParameterViews& parameters, const ParameterViews& gradients,
               const std::string& name)
    : weight_(parameters[name + ".weight"]),
      bias_(parameters[name + ".bias"]),
      dweight_(gradients[name + ".weight"]),
      dbias_(gradients[name + ".bias"]) {}

void Linear::Forward(Backend& backend, Tensor x, float beta, Tensor y) const {
  const Tensor rows = AsRows(y, weight_.shape[0]);
  backend.MatMul(Transpose::kNo, Transpose::kYes, AsRows(x, weight_.shape[1]), weight_, beta, rows);
  backend.AddBias(bias_, rows);
}

void Linear::Backward(Backend& backend, Tensor x, Tensor dy, float beta, Tensor dx) const {
  const Tensor drows = AsRows(dy, weight_.shape[0]);
  const int64_t in = weight_.shape[1];
  backend.MatMul(Transpose::kYes, Transpose::kNo, drows, AsRows(x, in), 1, dweight_);
  backend.AddBiasBackward(drows, dbias_);
  backend.MatMul(Transpose::kNo, Transpose::kNo, drows, weight_, beta, AsRows(dx, in));
}

}  // namespace wavefield
