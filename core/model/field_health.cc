#include "core/model/field_health.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "core/tensor/host_copy.h"

namespace wavefield {
namespace {

double Percentile(std::span<const double> sorted, double share) {
  const auto rank = std::lround(share * static_cast<double>(sorted.size() - 1));
  return sorted[static_cast<size_t>(rank)];
}

double EntropyOfSoftmax(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0, weighted = 0;  // of exp(x − largest), and of that times (x − largest)
  for (const float logit : logits) {
    const double x = logit - largest;
    sum += std::exp(x);
    weighted += x * std::exp(x);
  }
  return std::log(sum) - weighted / sum;
}

}  // namespace

std::vector<HeadHealth> HealthOfWaves(Backend& backend, Tensor damping, Tensor frequency,
                                      Tensor phase, Tensor coupling) {
  const auto heads = static_cast<size_t>(frequency.elements());
  const std::vector<float> lambda = ToHost(backend, damping);
  const std::vector<float> omega = ToHost(backend, frequency);
  const std::vector<float> phi = ToHost(backend, phase);
  const std::vector<float> logits = ToHost(backend, coupling);
  std::vector<HeadHealth> health(heads);
  std::vector<double> constants(lambda.size() / heads);
  for (size_t h = 0; h < heads; ++h) {
    for (size_t i = 0; i < constants.size(); ++i) constants[i] = 1.0 / lambda[i * heads + h];
    if (std::any_of(constants.begin(), constants.end(), [](double x) { return std::isnan(x); })) {
      constants.assign(constants.size(), std::numeric_limits<double>::quiet_NaN());
    } else {
      std::sort(constants.begin(), constants.end());
    }
    health[h] = {.time_constant_p10 = Percentile(constants, 0.1),
                 .time_constant_p50 = Percentile(constants, 0.5),
                 .time_constant_p90 = Percentile(constants, 0.9),
                 .frequency = omega[h],
                 .phase = phi[h],
                 .coupling_entropy = EntropyOfSoftmax(std::span(logits).subspan(h * heads, heads))};
  }
  return health;
}

}  // namespace wavefield
