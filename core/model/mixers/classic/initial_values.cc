#include "core/model/mixers/classic/initial_values.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "core/model/mixers/wave_field/initial_values.h"

namespace wavefield {

InitialValue InitialClassicFrequency(const ModelConfig& c, int64_t layer) {
  const double scale = std::pow(4.0, Ratio(layer, c.n_layers) - 1.0);
  return [scale, heads = static_cast<double>(c.n_heads)](const RandomStream&, int64_t h) {
    return std::numbers::pi * (2.0 * static_cast<double>(h) + 1.0) / (2.0 * heads) * scale;
  };
}

ParameterDescription SharedMatrixParameter(const ModelConfig& c, std::string name) {
  const int64_t d = c.head_dim();
  const auto identity = [d](const RandomStream&, int64_t i) { return i / d == i % d ? 1.0 : 0.0; };
  return {std::move(name), {d, d}, ParameterGroup::kMatrix, false, c.n_heads, identity};
}

}  // namespace wavefield
