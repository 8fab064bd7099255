#include <cmath>
#include <functional>
#include <vector>

#include "core/base/rng.h"
#include "core/model/parameters.h"

namespace wavefield {
namespace {

double Ratio(int64_t index, int64_t count) {
  return count > 1 ? static_cast<double>(index) / static_cast<double>(count - 1) : 0.0;
}

// Time constant of head h in tokens.
double TimeConstant(int64_t head, int64_t heads) {
  return 2.0 * std::pow(512.0, Ratio(head, heads));
}

double InverseSoftplus(double y) { return std::log(std::expm1(y)); }

bool EndsWith(const std::string& name, const char* suffix) { return name.ends_with(suffix); }

// The initial value of element i of a parameter.
std::function<double(int64_t)> InitialValue(const ModelConfig& c, const ParameterInfo& p,
                                            uint64_t seed) {
  const RandomStream random(seed, p.name);
  const int64_t heads = c.n_heads;
  if (EndsWith(p.name, "mixer.out.weight") || EndsWith(p.name, "ffn.down.weight")) {
    const double deviation = 0.02 / std::sqrt(2.0 * static_cast<double>(c.n_layers));
    return [=](int64_t i) { return deviation * random.Normal(static_cast<uint64_t>(i)); };
  }
  if (EndsWith(p.name, "mixer.conv.weight")) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(c.conv_width));
    return
        [=](int64_t i) { return bound * (2.0 * random.Uniform(static_cast<uint64_t>(i)) - 1.0); };
  }
  if (EndsWith(p.name, "mixer.damping.bias")) {
    return [=](int64_t h) { return InverseSoftplus(1.0 / TimeConstant(h, heads)); };
  }
  if (EndsWith(p.name, "mixer.frequency")) {
    return [=](int64_t h) {
      return (static_cast<double>(h) + 0.5) / static_cast<double>(heads) * 0.5 /
             std::sqrt(TimeConstant(heads - 1 - h, heads));
    };
  }
  if (EndsWith(p.name, "mixer.coupling")) {
    const double own = heads > 1 ? std::log(9.0 * static_cast<double>(heads - 1)) : 0.0;
    return [=](int64_t i) { return i / heads == i % heads ? own : 0.0; };
  }
  if (EndsWith(p.name, "norm.weight") || EndsWith(p.name, "norm1.weight") ||
      EndsWith(p.name, "norm2.weight")) {
    return [](int64_t) { return 1.0; };
  }
  if (EndsWith(p.name, "mixer.conv.bias") || EndsWith(p.name, "mixer.damping.weight") ||
      EndsWith(p.name, "mixer.phase")) {
    return [](int64_t) { return 0.0; };
  }
  return [=](int64_t i) { return 0.02 * random.Normal(static_cast<uint64_t>(i)); };
}

}  // namespace

void InitializeParameters(const ModelConfig& config, const ParameterLayout& layout, uint64_t seed,
                          Backend& backend, Tensor flat) {
  std::vector<float> values;
  for (const ParameterInfo& parameter : layout.parameters()) {
    const auto value = InitialValue(config, parameter, seed);
    const int64_t count = parameter.shape.elements();
    values.resize(static_cast<size_t>(count));
#pragma omp parallel for num_threads(backend.threads()) schedule(static)
    for (int64_t i = 0; i < count; ++i)
      values[static_cast<size_t>(i)] = static_cast<float>(value(i));
    backend.CopyFromHost(values.data(), layout.View(flat, parameter));
  }
}

}  // namespace wavefield
