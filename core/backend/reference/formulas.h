#pragma once

#include <cmath>

namespace wavefield::reference {

inline constexpr double kNormEpsilon = 1e-6;

inline double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double Silu(double x) { return x * Sigmoid(x); }
inline double SiluDerivative(double x) { return Sigmoid(x) * (1.0 + x * (1.0 - Sigmoid(x))); }

inline float Round(double x) { return static_cast<float>(x); }
inline void Accumulate(float& sum, double x) { sum = Round(sum + x); }

}  // namespace wavefield::reference
