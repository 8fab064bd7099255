#include "tests/support/gradient_checker.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace wavefield::testing {
namespace {

// A loss along a line through a parameter's value, which the end restores.
class Line {
 public:
  Line(Tensor parameter, const std::vector<double>& direction, const std::function<double()>& loss)
      : p_(parameter.f32()),
        original_(p_, p_ + parameter.elements()),
        direction_(direction),
        loss_(loss) {}
  ~Line() { std::copy(original_.begin(), original_.end(), p_); }

  double At(double distance) const {
    for (size_t i = 0; i < original_.size(); ++i) {
      p_[i] = static_cast<float>(original_[i] + distance * direction_[i]);
    }
    return loss_();
  }
  double Difference(double distance) const { return At(distance) - At(-distance); }

  // How far the loss is from smooth at distances that are roundings of a parameter.
  double Scatter() const {
    constexpr double kNear = 1e-5;
    const double here = At(0);
    double scatter = 1e-6 * std::abs(here);
    for (int i = 1; i <= 3; ++i) {
      scatter = std::max(scatter, std::abs(At(i * kNear) + At(-i * kNear) - 2 * here));
    }
    return scatter;
  }

 private:
  float* const p_;
  const std::vector<float> original_;
  const std::vector<double>& direction_;
  const std::function<double()>& loss_;
};

// The movement between two points from those at twice the distance: the third derivative cancels.
double Extrapolated(double far, double near) { return (8 * near - far) / 3; }

}  // namespace

GradientCheck CheckAlongGradient(Tensor parameter, Tensor gradient,
                                 const std::function<double()>& loss, double movement,
                                 double reach) {
  constexpr double kGoodEnough = 0.02;  // error of the movement, relative
  std::vector<double> direction(static_cast<size_t>(parameter.elements()));
  double norm = 0;
  for (size_t i = 0; i < direction.size(); ++i) {
    direction[i] = gradient.f32()[i];
    norm += direction[i] * direction[i];
  }
  norm = std::sqrt(norm);
  if (norm == 0) return {};
  for (double& d : direction) d /= norm;

  const Line line(parameter, direction, loss);
  const double rounding = 4 * line.Scatter();  // extrapolation adds up several
  double step = std::min(movement / (2 * norm), reach);
  double far = line.Difference(step), near = line.Difference(step / 2);
  GradientCheck best;
  double best_slope_error = std::numeric_limits<double>::infinity();
  while (rounding / step < best_slope_error) {  // else nearer points tell no more
    const double nearer = line.Difference(step / 4);
    GradientCheck check{.analytic = 2 * step * norm, .numeric = Extrapolated(far, near)};
    check.error = std::abs(2 * Extrapolated(near, nearer) - check.numeric) + rounding;
    if (check.error / step < best_slope_error) {
      best = check;
      best_slope_error = check.error / step;
    }
    if (check.error < kGoodEnough * std::abs(check.numeric)) break;
    step /= 2;
    far = near;
    near = nearer;
  }
  return best;
}

}  // namespace wavefield::testing
