#pragma once

#include <functional>
#include <string>

#include "core/tensor/tensor.h"

namespace wavefield::testing {

// How far a loss moved between two points, as the gradient foretells and as measured.
struct GradientCheck {
  double analytic = 0;
  double numeric = 0;
  double error = 0;  // how far `numeric` may be off
};

// Compares a gradient with central differences (extrapolated to fourth order) along itself, which
// sees wrong sizes as well as wrong directions (a gradient with any wrong part foretells more
// movement than there is). `loss` is a function of `parameter`'s contents (fp32, host memory),
// which are restored. The points lie so far apart that the loss should move by `movement`, but at
// most `reach` (2-norm) to either side; where the loss bends too much for that (half the step tells
// another slope), nearer. The error is what half the step changes, and rounding: as much as the
// loss scatters between points next to each other.
GradientCheck CheckAlongGradient(Tensor parameter, Tensor gradient,
                                 const std::function<double()>& loss, double movement,
                                 double reach);

}  // namespace wavefield::testing
