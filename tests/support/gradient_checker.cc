#include "tests/support/gradient_checker.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace wavefield::testing {
namespace {

// Twice `step` along a unit direction.
GradientCheck CheckAlong(Tensor parameter, Tensor gradient, const std::vector<double>& direction,
                         double step, const std::function<double()>& loss) {
  const auto count = static_cast<size_t>(parameter.elements());
  float* p = parameter.f32();
  const std::vector<float> original(p, p + count);
  const auto loss_at = [&](double distance) {
    for (size_t i = 0; i < count; ++i) {
      p[i] = static_cast<float>(original[i] + distance * direction[i]);
    }
    return loss();
  };
  const double far = loss_at(step) - loss_at(-step);
  const double near = loss_at(step / 2) - loss_at(-step / 2);
  std::copy(original.begin(), original.end(), p);

  GradientCheck check;
  check.numeric = (8 * near - far) / 3;  // Richardson: the third derivative cancels
  for (size_t i = 0; i < count; ++i) check.analytic += 2 * step * gradient.f32()[i] * direction[i];
  return check;
}

}  // namespace

GradientCheck CheckAlongGradient(Tensor parameter, Tensor gradient,
                                 const std::function<double()>& loss, double movement,
                                 double reach) {
  std::vector<double> direction(static_cast<size_t>(parameter.elements()));
  double norm = 0;
  for (size_t i = 0; i < direction.size(); ++i) {
    direction[i] = gradient.f32()[i];
    norm += direction[i] * direction[i];
  }
  norm = std::sqrt(norm);
  if (norm == 0) return {};
  for (double& d : direction) d /= norm;
  return CheckAlong(parameter, gradient, direction, std::min(movement / (2 * norm), reach), loss);
}

}  // namespace wavefield::testing
