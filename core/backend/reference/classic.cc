// What the classic form needs besides the field.

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/reference/formulas.h"
#include "core/backend/reference/reference_backend.h"

namespace wavefield {

using reference::Accumulate;
using reference::Round;
using reference::Sigmoid;

namespace {

constexpr double kLayerNormEpsilon = 1e-5;
constexpr double kLeastNorm = 1e-12;
constexpr double kLeastTemperature = 0.05;

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double NormalDensity(double x) {
  return std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}

// How head i hears head j, and the parts of it.
struct CoupledWeights {
  CoupledWeights(int64_t heads, const Tensor& coupling, const Tensor& damping)
      : share(heads * heads), scale(heads) {
    for (int64_t i = 0; i < heads; ++i) {
      const float* row = coupling.f32() + i * heads;
      const double largest = *std::max_element(row, row + heads);
      double sum = 0.0;
      for (int64_t j = 0; j < heads; ++j) sum += std::exp(row[j] - largest);
      for (int64_t j = 0; j < heads; ++j) share[i * heads + j] = std::exp(row[j] - largest) / sum;
      scale[i] = std::sqrt(-std::expm1(-2.0 * damping.f32()[i]));
    }
  }
  std::vector<double> share;  // [H, H], softmax of the coupling
  std::vector<double> scale;  // [H]
};

// The alignment of one row.
struct Alignment {
  Alignment(const float* near, const float* far, int64_t width, double temperature)
      : divisor(Softplus(temperature) + kLeastTemperature) {
    double near2 = 0.0, far2 = 0.0;
    for (int64_t i = 0; i < width; ++i) {
      dot += static_cast<double>(near[i]) * far[i];
      near2 += static_cast<double>(near[i]) * near[i];
      far2 += static_cast<double>(far[i]) * far[i];
    }
    near_norm = std::max(std::sqrt(near2), kLeastNorm);
    far_norm = std::max(std::sqrt(far2), kLeastNorm);
    cosine = dot / (near_norm * far_norm);
    open = Sigmoid(cosine / divisor);
  }
  const double divisor;
  double dot = 0.0, near_norm, far_norm, cosine, open;
};

// What the derivative of the cosine has to do with x's own length.
double Pull(double cosine, double norm) { return norm > kLeastNorm ? cosine / (norm * norm) : 0.0; }

}  // namespace

void ReferenceBackend::LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                                        Tensor inverse_deviation) {
  const auto size = contract::LayerNormForward(x, weight, bias, y, mean, inverse_deviation);
  const auto width = static_cast<double>(size.width);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* row = x.f32() + n * size.width;
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < size.width; ++i) sum += row[i];
    const double center = sum / width;
    for (int64_t i = 0; i < size.width; ++i) squares += (row[i] - center) * (row[i] - center);
    const double r = 1.0 / std::sqrt(squares / width + kLayerNormEpsilon);
    mean.f32()[n] = Round(center);
    inverse_deviation.f32()[n] = Round(r);
    for (int64_t i = 0; i < size.width; ++i) {
      y.f32()[n * size.width + i] = Round((row[i] - center) * r * weight.f32()[i] + bias.f32()[i]);
    }
  }
}

void ReferenceBackend::LayerNormBackward(Tensor x, Tensor weight, Tensor mean,
                                         Tensor inverse_deviation, Tensor dy, Tensor residual,
                                         Tensor dx, Tensor dweight, Tensor dbias) {
  const auto size = contract::LayerNormBackward(x, weight, mean, inverse_deviation, dy, residual,
                                                dx, dweight, dbias);
  const auto width = static_cast<double>(size.width);
  std::vector<double> weight_sum(size.width, 0.0), bias_sum(size.width, 0.0);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* row = x.f32() + n * size.width;
    const float* dout = dy.f32() + n * size.width;
    const double center = mean.f32()[n], r = inverse_deviation.f32()[n];
    double sum = 0.0, dot = 0.0;
    for (int64_t i = 0; i < size.width; ++i) {
      const double normed = (row[i] - center) * r;
      const double dnormed = static_cast<double>(dout[i]) * weight.f32()[i];
      sum += dnormed;
      dot += dnormed * normed;
      weight_sum[i] += dout[i] * normed;
      bias_sum[i] += dout[i];
    }
    for (int64_t i = 0; i < size.width; ++i) {
      const int64_t at = n * size.width + i;
      const double base = residual.empty() ? 0.0 : residual.f32()[at];
      const double dnormed = static_cast<double>(dout[i]) * weight.f32()[i];
      const double normed = (row[i] - center) * r;
      dx.f32()[at] = Round(base + r * (dnormed - sum / width - normed * dot / width));
    }
  }
  for (int64_t i = 0; i < size.width; ++i) {
    Accumulate(dweight.f32()[i], weight_sum[i]);
    Accumulate(dbias.f32()[i], bias_sum[i]);
  }
}

void ReferenceBackend::AddBias(Tensor bias, Tensor y) {
  const auto size = contract::AddBias(bias, y);
  for (int64_t i = 0; i < size.rows * size.width; ++i) y.f32()[i] += bias.f32()[i % size.width];
}

void ReferenceBackend::AddBiasBackward(Tensor dy, Tensor dbias) {
  const auto size = contract::AddBias(dbias, dy);
  for (int64_t i = 0; i < size.width; ++i) {
    double sum = 0.0;
    for (int64_t n = 0; n < size.rows; ++n) sum += dy.f32()[n * size.width + i];
    Accumulate(dbias.f32()[i], sum);
  }
}

void ReferenceBackend::GeluForward(Tensor x, Tensor y) {
  const int64_t n = contract::Gelu(x, y);
  for (int64_t i = 0; i < n; ++i) y.f32()[i] = Round(x.f32()[i] * NormalCdf(x.f32()[i]));
}

void ReferenceBackend::GeluBackward(Tensor x, Tensor dy, Tensor dx) {
  const int64_t n = contract::GeluBackward(x, dy, dx);
  for (int64_t i = 0; i < n; ++i) {
    const double value = x.f32()[i];
    dx.f32()[i] = Round(dy.f32()[i] * (NormalCdf(value) + value * NormalDensity(value)));
  }
}

void ReferenceBackend::CopyColumns(Tensor source, int64_t source_column, int64_t width,
                                   Tensor destination, int64_t destination_column) {
  const auto size =
      contract::CopyColumns(source, source_column, width, destination, destination_column);
  for (int64_t n = 0; n < size.rows; ++n) {
    std::copy_n(source.f32() + n * size.source_stride + source_column, width,
                destination.f32() + n * size.destination_stride + destination_column);
  }
}

void ReferenceBackend::ReluForward(float floor, Tensor x, int64_t column, Tensor y) {
  const auto size = contract::Relu(x, column, y);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t i = 0; i < size.width; ++i) {
      const double value = x.f32()[n * size.width + i];
      y.f32()[n * size.destination_stride + column + i] =
          Round(std::max(value, 0.0) + static_cast<double>(floor));
    }
  }
}

void ReferenceBackend::ReluBackward(float floor, Tensor y, int64_t column, Tensor dy, Tensor dx) {
  const auto size = contract::ReluBackward(y, column, dy, dx);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t i = 0; i < size.width; ++i) {
      const int64_t at = n * size.destination_stride + column + i;
      dx.f32()[n * size.width + i] = y.f32()[at] > floor ? dy.f32()[at] : 0.0f;
    }
  }
}

void ReferenceBackend::AddPositions(int64_t batch, int64_t position, Tensor x) {
  const auto size = contract::AddPositions(batch, position, x);
  const int64_t width = x.shape[1];
  for (int64_t n = 0; n < batch * size.tokens; ++n) {
    const auto token = static_cast<double>(position + n % size.tokens);
    for (int64_t i = 0; i < width; i += 2) {
      const double rate = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(width));
      Accumulate(x.f32()[n * width + i], std::sin(token * rate));
      Accumulate(x.f32()[n * width + i + 1], std::cos(token * rate));
    }
  }
}

void ReferenceBackend::CoupledReadForward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                          Tensor y) {
  const auto size = contract::CoupledRead(field, qkv, coupling, damping, y);
  const int64_t heads = size.heads, d = size.head_width, width = size.width();
  const CoupledWeights weights(heads, coupling, damping);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t c = 0; c < width; ++c) {
      double heard = 0.0;
      for (int64_t j = 0; j < heads; ++j) {
        heard += weights.share[c / d * heads + j] * weights.scale[j] *
                 field.f32()[n * width + j * d + c % d];
      }
      y.f32()[n * width + c] = Round(qkv.f32()[n * 3 * width + c] * heard);
    }
  }
}

void ReferenceBackend::CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling,
                                           Tensor damping, Tensor dy, Tensor dfield, Tensor dqkv,
                                           Tensor dcoupling, Tensor ddamping) {
  const auto size = contract::CoupledReadBackward(field, qkv, coupling, damping, dy, dfield, dqkv,
                                                  dcoupling, ddamping);
  const int64_t heads = size.heads, d = size.head_width, width = size.width();
  const CoupledWeights weights(heads, coupling, damping);
  std::vector<double> products(heads * heads, 0.0);  // Σ q_i dy_i · field_j
  std::vector<double> dheard(width);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* fields = field.f32() + n * width;
    for (int64_t c = 0; c < width; ++c) {
      const double gradient = dy.f32()[n * width + c];
      dheard[c] = gradient * qkv.f32()[n * 3 * width + c];
      double heard = 0.0;
      for (int64_t j = 0; j < heads; ++j) {
        const int64_t pair = c / d * heads + j;
        heard += weights.share[pair] * weights.scale[j] * fields[j * d + c % d];
        products[pair] += dheard[c] * fields[j * d + c % d];
      }
      dqkv.f32()[n * 3 * width + c] = Round(gradient * heard);
    }
    for (int64_t c = 0; c < width; ++c) {
      const int64_t j = c / d;
      double sum = 0.0;
      for (int64_t i = 0; i < heads; ++i) {
        sum += weights.share[i * heads + j] * dheard[i * d + c % d];
      }
      dfield.f32()[n * width + c] = Round(sum * weights.scale[j]);
    }
  }
  std::vector<double> dscale(heads, 0.0);
  for (int64_t i = 0; i < heads; ++i) {
    double mean = 0.0;
    for (int64_t j = 0; j < heads; ++j) {
      dscale[j] += weights.share[i * heads + j] * products[i * heads + j];
      mean += weights.share[i * heads + j] * weights.scale[j] * products[i * heads + j];
    }
    for (int64_t j = 0; j < heads; ++j) {
      Accumulate(
          dcoupling.f32()[i * heads + j],
          weights.share[i * heads + j] * (weights.scale[j] * products[i * heads + j] - mean));
    }
  }
  for (int64_t j = 0; j < heads; ++j) {
    const double slope = std::exp(-2.0 * damping.f32()[j]) / weights.scale[j];
    ddamping.f32()[j] = weights.scale[j] > 0.0 ? Round(dscale[j] * slope) : 0.0f;
  }
}

void ReferenceBackend::SigmoidGateForward(Tensor x, Tensor qkvg, Tensor y) {
  const auto size = contract::SigmoidGate(x, qkvg, y);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* gate = qkvg.f32() + (4 * n + 3) * size.width;
    for (int64_t i = 0; i < size.width; ++i) {
      y.f32()[n * size.width + i] = Round(x.f32()[n * size.width + i] * Sigmoid(gate[i]));
    }
  }
}

void ReferenceBackend::SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx,
                                           Tensor dqkvg) {
  const auto size = contract::SigmoidGateBackward(x, qkvg, dy, dx, dqkvg);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t i = 0; i < size.width; ++i) {
      const int64_t at = n * size.width + i, gate_at = (4 * n + 3) * size.width + i;
      const double open = Sigmoid(qkvg.f32()[gate_at]), gradient = dy.f32()[at];
      dqkvg.f32()[gate_at] = Round(gradient * x.f32()[at] * open * (1.0 - open));
      dx.f32()[at] = Round(gradient * open);
    }
  }
}

void ReferenceBackend::CumulativeMeanForward(int64_t batch, int64_t position, Tensor x,
                                             Tensor state, Tensor mean) {
  const auto size = contract::CumulativeMean(batch, position, x, state, mean);
  WF_CHECK(position == 0 || !state.empty());
  const int64_t width = x.shape[1];
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < width; ++i) {
      double sum = state.empty() ? 0.0 : state.f32()[b * width + i];
      for (int64_t t = 0; t < size.tokens; ++t) {
        const int64_t at = (b * size.tokens + t) * width + i;
        sum += x.f32()[at];
        mean.f32()[at] = Round(sum / static_cast<double>(position + t + 1));
      }
      if (!state.empty()) state.f32()[b * width + i] = Round(sum);
    }
  }
}

void ReferenceBackend::CumulativeMeanBackward(int64_t batch, int64_t position, Tensor dmean,
                                              Tensor dstate, Tensor dx) {
  const auto size = contract::CumulativeMean(batch, position, dmean, dstate, dx);
  const int64_t width = dx.shape[1];
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < width; ++i) {
      double sum = dstate.empty() ? 0.0 : dstate.f32()[b * width + i];
      for (int64_t t = size.tokens; t-- > 0;) {
        const int64_t at = (b * size.tokens + t) * width + i;
        sum += dmean.f32()[at] / static_cast<double>(position + t + 1);
        dx.f32()[at] = Round(sum);
      }
      if (!dstate.empty()) dstate.f32()[b * width + i] = Round(sum);
    }
  }
}

void ReferenceBackend::InterferenceForward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                           Tensor temperature, Tensor y) {
  const auto size = contract::Interference(near, far, echo, gate, temperature, y);
  for (int64_t n = 0; n < size.rows; ++n) {
    const int64_t row = n * size.width;
    const Alignment alignment(near.f32() + row, far.f32() + row, size.width, temperature.f32()[0]);
    for (int64_t i = row; i < row + size.width; ++i) {
      Accumulate(y.f32()[i], Sigmoid(gate.f32()[i]) * echo.f32()[i] * alignment.open);
    }
  }
}

void ReferenceBackend::InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                            Tensor temperature, Tensor dy, Tensor dnear,
                                            Tensor dfar, Tensor decho, Tensor dgate,
                                            Tensor dtemperature) {
  const auto size = contract::InterferenceBackward(near, far, echo, gate, temperature, dy, dnear,
                                                   dfar, decho, dgate, dtemperature);
  double ddivisor = 0.0;
  for (int64_t n = 0; n < size.rows; ++n) {
    const int64_t row = n * size.width;
    const Alignment a(near.f32() + row, far.f32() + row, size.width, temperature.f32()[0]);
    double dopen = 0.0;
    for (int64_t i = row; i < row + size.width; ++i) {
      const double through = Sigmoid(gate.f32()[i]), value = echo.f32()[i];
      const double gradient = dy.f32()[i];
      dopen += gradient * through * value;
      decho.f32()[i] = Round(gradient * through * a.open);
      dgate.f32()[i] = Round(gradient * value * a.open * through * (1.0 - through));
    }
    const double dargument = dopen * a.open * (1.0 - a.open);
    const double dcosine = dargument / a.divisor;
    ddivisor -= dargument * a.cosine / (a.divisor * a.divisor);
    for (int64_t i = row; i < row + size.width; ++i) {
      const double x = near.f32()[i], z = far.f32()[i], lengths = a.near_norm * a.far_norm;
      dnear.f32()[i] = Round(dcosine * (z / lengths - Pull(a.cosine, a.near_norm) * x));
      dfar.f32()[i] = Round(dcosine * (x / lengths - Pull(a.cosine, a.far_norm) * z));
    }
  }
  Accumulate(dtemperature.f32()[0], ddivisor * Sigmoid(temperature.f32()[0]));
}

}  // namespace wavefield
