#include "core/model/parameters.h"

#include "core/base/check.h"
#include "core/model/architecture.h"

namespace wavefield {

InitialValue Constant(double value) {
  return [value](const RandomStream&, int64_t) { return value; };
}

InitialValue Normal(double deviation) {
  return [deviation](const RandomStream& random, int64_t i) {
    return deviation * random.Normal(static_cast<uint64_t>(i));
  };
}

InitialValue Uniform(double bound) {
  return [bound](const RandomStream& random, int64_t i) {
    return bound * (2.0 * random.Uniform(static_cast<uint64_t>(i)) - 1.0);
  };
}

ParameterDescription MatrixParameter(std::string name, int64_t out, int64_t in,
                                     InitialValue initial) {
  return {std::move(name), {out, in}, ParameterGroup::kMatrix, true, 1, std::move(initial)};
}

ParameterDescription VectorParameter(std::string name, Shape shape, double value) {
  return {std::move(name), shape, ParameterGroup::kVector, false, 0, Constant(value)};
}

ParameterDescription KernelParameter(std::string name, Shape shape, InitialValue initial) {
  return {std::move(name), shape, ParameterGroup::kKernel, false, 0, std::move(initial)};
}

ParameterLayout::ParameterLayout(const ModelConfig& config) {
  for (ParameterDescription& description : DescribeParameters(config)) {
    const int64_t offset = elements_;
    elements_ += description.shape.elements();
    places_.emplace(description.name, parameters_.size());
    parameters_.push_back({std::move(description), offset});
  }
}

int64_t ParameterLayout::FirstElement(const std::string& prefix) const {
  for (const ParameterInfo& info : parameters_) {
    if (info.name.starts_with(prefix)) return info.offset;
  }
  WF_CHECK_MSG(false, "no parameter below " + prefix);
  return elements_;
}

Tensor ParameterLayout::View(Tensor flat, const ParameterInfo& info) const {
  WF_CHECK(flat.elements() == elements_);
  return {flat.f32() + info.offset, flat.dtype, info.shape};
}

Tensor ParameterLayout::View(Tensor flat, const std::string& name) const {
  const auto place = places_.find(name);
  WF_CHECK_MSG(place != places_.end(), "no parameter " + name);
  return View(flat, parameters_[place->second]);
}

void InitializeParameters(const ParameterLayout& layout, uint64_t seed, Backend& backend,
                          Tensor flat) {
  std::vector<float> values;
  for (const ParameterInfo& parameter : layout.parameters()) {
    const RandomStream random(seed, parameter.name);
    const int64_t count = parameter.shape.elements();
    values.resize(static_cast<size_t>(count));
#pragma omp parallel for num_threads(backend.threads()) schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      values[static_cast<size_t>(i)] = static_cast<float>(parameter.initial(random, i));
    }
    backend.CopyFromHost(values.data(), layout.View(flat, parameter));
  }
}

}  // namespace wavefield
