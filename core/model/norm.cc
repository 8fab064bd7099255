#include "core/model/norm.h"

#include "core/model/architecture.h"

namespace wavefield {

std::vector<ParameterDescription> Norm::Parameters(const ModelConfig& config) {
  std::vector<ParameterDescription> list = {VectorParameter("weight", {config.d_model}, 1)};
  if (SkeletonOf(config) == Skeleton::kClassic) {
    list.push_back(VectorParameter("bias", {config.d_model}, 0));
  }
  return list;
}

Norm::Norm(const ModelConfig& config, const ParameterViews& parameters,
           const ParameterViews& gradients)
    : centers_(SkeletonOf(config) == Skeleton::kClassic),
      weight_(parameters["weight"]),
      bias_(centers_ ? parameters["bias"] : Tensor{}),
      dweight_(gradients["weight"]),
      dbias_(centers_ ? gradients["bias"] : Tensor{}) {}

Norm::Saved Norm::Forward(const LayerContext& context, Tensor x, Tensor y) const {
  Saved saved;
  saved.inverse = context.AllocateFloats({context.rows()});
  if (centers_) {
    saved.mean = context.AllocateFloats({context.rows()});
    context.backend.LayerNormForward(x, weight_, bias_, y, saved.mean, saved.inverse);
  } else {
    context.backend.RmsNormForward(x, weight_, y, saved.inverse);
  }
  return saved;
}

void Norm::Backward(const LayerContext& context, const Saved& saved, Tensor x, Tensor dy,
                    Tensor residual, Tensor dx) const {
  if (centers_) {
    context.backend.LayerNormBackward(x, weight_, saved.mean, saved.inverse, dy, residual, dx,
                                      dweight_, dbias_);
  } else {
    context.backend.RmsNormBackward(x, weight_, saved.inverse, dy, residual, dx, dweight_);
  }
}

}  // namespace wavefield
