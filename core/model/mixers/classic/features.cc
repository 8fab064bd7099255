#include "core/model/mixers/classic/features.h"

#include "core/model/mixers/classic/initial_values.h"

namespace wavefield {
namespace {

constexpr float kFloor = 1e-6f;

}  // namespace

std::vector<ParameterDescription> Features::Parameters(const ModelConfig& c,
                                                       const std::string& name) {
  const int64_t d = c.head_dim();
  std::vector<ParameterDescription> list;
  for (const char* stage : {".0", ".1"}) {
    list.push_back(SharedMatrixParameter(c, name + stage + ".weight"));
    list.push_back(VectorParameter(name + stage + ".bias", {d}, 0));
  }
  return list;
}

Features::Features(const ParameterViews& parameters, const ParameterViews& gradients,
                   const std::string& name)
    : first_(parameters, gradients, name + ".0"), second_(parameters, gradients, name + ".1") {}

Features::Saved Features::Forward(const LayerContext& context, Tensor qkvg, int64_t column,
                                  Tensor qkv) const {
  Backend& backend = context.backend;
  const Shape shape{context.rows(), qkv.shape[1] / 3};
  const Saved saved{.x = context.Allocate(shape),
                    .inner = context.Allocate(shape),
                    .hidden = context.Allocate(shape)};
  backend.CopyColumns(qkvg, column, shape[1], saved.x, 0);
  first_.Forward(backend, saved.x, 0, saved.inner);
  backend.GeluForward(saved.inner, saved.hidden);
  const ArenaScope scope(context.arena);
  const Tensor outer = context.Allocate(shape);
  second_.Forward(backend, saved.hidden, 0, outer);
  backend.ReluForward(kFloor, outer, column, qkv);
  return saved;
}

void Features::Backward(const LayerContext& context, const Saved& saved, Tensor qkv, Tensor dqkv,
                        int64_t column, Tensor dqkvg) const {
  Backend& backend = context.backend;
  const ArenaScope scope(context.arena);
  const Tensor douter = context.Allocate(saved.x.shape);
  const Tensor dinner = context.Allocate(saved.x.shape);
  backend.ReluBackward(kFloor, qkv, column, dqkv, douter);
  second_.Backward(backend, saved.hidden, douter, 0, dinner);
  backend.GeluBackward(saved.inner, dinner, dinner);
  const Tensor dx = douter;
  first_.Backward(backend, saved.x, dinner, 0, dx);
  backend.CopyColumns(dx, 0, dx.shape[1], dqkvg, column);
}

}  // namespace wavefield
