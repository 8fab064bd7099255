// Short convolution, damping and readout: what surrounds the field in the mixer.

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/reference/formulas.h"
#include "core/backend/reference/reference_backend.h"

namespace wavefield {

using reference::Accumulate;
using reference::kNormEpsilon;
using reference::Round;
using reference::Silu;
using reference::SiluDerivative;

namespace {

// x_t of one channel of one sequence; before its start the state, or zero.
class ConvInput {
 public:
  ConvInput(const contract::ShortConvSizes& size, const Tensor& qkvg, const Tensor& state,
            int64_t sequence, int64_t channel)
      : size_(size), qkvg_(qkvg), state_(state), sequence_(sequence), channel_(channel) {}

  double operator()(int64_t t) const {
    if (t >= 0) {
      return qkvg_.f32()[(sequence_ * size_.tokens + t) * qkvg_.shape[1] + channel_];
    }
    if (state_.empty() || t < 1 - size_.taps) return 0.0;
    const int64_t row = sequence_ * (size_.taps - 1) + size_.taps - 1 + t;
    return state_.f32()[row * size_.channels + channel_];
  }

 private:
  const contract::ShortConvSizes& size_;
  const Tensor& qkvg_;
  const Tensor& state_;
  int64_t sequence_, channel_;
};

std::vector<double> SoftmaxRows(const Tensor& coupling) {
  const int64_t heads = coupling.shape[0];
  std::vector<double> weights(heads * heads);
  for (int64_t i = 0; i < heads; ++i) {
    double sum = 0.0, largest = coupling.f32()[i * heads];
    for (int64_t j = 1; j < heads; ++j) {
      largest = std::max<double>(largest, coupling.f32()[i * heads + j]);
    }
    for (int64_t j = 0; j < heads; ++j) {
      weights[i * heads + j] = std::exp(coupling.f32()[i * heads + j] - largest);
      sum += weights[i * heads + j];
    }
    for (int64_t j = 0; j < heads; ++j) weights[i * heads + j] /= sum;
  }
  return weights;
}

// Of one row: the coupled fields, ỹ (they, or q times they) and 1 / its root mean square per head.
struct Coupled {
  std::vector<double> mixed, values, inverse_rms;
};

// q: the row's, or null for 1.
Coupled Couple(const contract::ReadoutSizes& size, const std::vector<double>& weights,
               const float* y, const float* q) {
  Coupled out{std::vector<double>(size.width(), 0.0), std::vector<double>(size.width()),
              std::vector<double>(size.heads)};
  const int64_t d = size.head_width;
  for (int64_t i = 0; i < size.heads; ++i) {
    double squares = 0.0;
    for (int64_t c = 0; c < d; ++c) {
      double& mixed = out.mixed[i * d + c];
      for (int64_t j = 0; j < size.heads; ++j) mixed += weights[i * size.heads + j] * y[j * d + c];
      const double value = q == nullptr ? mixed : q[i * d + c] * mixed;
      out.values[i * d + c] = value;
      squares += value * value;
    }
    out.inverse_rms[i] = 1.0 / std::sqrt(squares / static_cast<double>(d) + kNormEpsilon);
  }
  return out;
}

}  // namespace

void ReferenceBackend::ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                        Tensor state, Tensor qkv) {
  const auto size = contract::ShortConvForward(batch, qkvg, weight, bias, state, qkv);
  const int64_t taps = size.taps;
  for (int64_t b = 0; b < size.batch; ++b) {
    for (int64_t ch = 0; ch < size.channels; ++ch) {
      const ConvInput x(size, qkvg, state, b, ch);
      for (int64_t t = 0; t < size.tokens; ++t) {
        double c = bias.f32()[ch];
        for (int64_t i = 0; i < taps; ++i) c += weight.f32()[ch * taps + i] * x(t - (taps - 1) + i);
        qkv.f32()[(b * size.tokens + t) * size.channels + ch] = Round(Silu(c));
      }
      if (state.empty()) continue;
      std::vector<double> last;
      for (int64_t i = 1; i < taps; ++i) last.push_back(x(size.tokens - taps + i));
      for (int64_t i = 0; i + 1 < taps; ++i) {
        state.f32()[(b * (taps - 1) + i) * size.channels + ch] = Round(last[i]);
      }
    }
  }
}

void ReferenceBackend::ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                         Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                         Tensor dweight, Tensor dbias) {
  const auto size = contract::ShortConvBackward(batch, qkvg, weight, bias, state, dqkv, dstate,
                                                dqkvg, dweight, dbias);
  const int64_t taps = size.taps;
  for (int64_t ch = 0; ch < size.channels; ++ch) {
    std::vector<double> weight_sum(taps, 0.0);
    double bias_sum = 0.0;
    for (int64_t b = 0; b < size.batch; ++b) {
      const ConvInput x(size, qkvg, state, b, ch);
      // Of the taps − 1 inputs before the piece, then of its own.
      std::vector<double> dx(taps - 1 + size.tokens, 0.0);
      for (int64_t i = 0; i + 1 < taps && !dstate.empty(); ++i) {
        dx[size.tokens + i] = dstate.f32()[(b * (taps - 1) + i) * size.channels + ch];
      }
      for (int64_t t = 0; t < size.tokens; ++t) {
        double c = bias.f32()[ch];
        for (int64_t i = 0; i < taps; ++i) c += weight.f32()[ch * taps + i] * x(t - (taps - 1) + i);
        const double dc =
            dqkv.f32()[(b * size.tokens + t) * size.channels + ch] * SiluDerivative(c);
        bias_sum += dc;
        for (int64_t i = 0; i < taps; ++i) {
          const int64_t s = t - (taps - 1) + i;
          weight_sum[i] += dc * x(s);
          dx[taps - 1 + s] += dc * weight.f32()[ch * taps + i];
        }
      }
      for (int64_t t = 0; t < size.tokens; ++t) {
        dqkvg.f32()[(b * size.tokens + t) * qkvg.shape[1] + ch] = Round(dx[taps - 1 + t]);
      }
      for (int64_t i = 0; i + 1 < taps && !dstate.empty(); ++i) {
        dstate.f32()[(b * (taps - 1) + i) * size.channels + ch] = Round(dx[i]);
      }
    }
    for (int64_t i = 0; i < taps; ++i) {
      Accumulate(dweight.f32()[ch * taps + i], weight_sum[i]);
    }
    Accumulate(dbias.f32()[ch], bias_sum);
  }
}

void ReferenceBackend::DampingForward(Tensor pre, Tensor bias, Tensor damping) {
  const auto size = contract::Damping(pre, damping, bias);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t h = 0; h < size.width; ++h) {
      const int64_t at = n * size.width + h;
      const double x = (pre.empty() ? 0.0 : pre.f32()[at]) + bias.f32()[h];
      damping.f32()[at] = Round(x > 0.0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)));
    }
  }
}

void ReferenceBackend::DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) {
  const auto size = contract::Damping(damping, ddamping, dbias);
  contract::Damping(dpre, ddamping, dbias);
  for (int64_t h = 0; h < size.width; ++h) {
    double sum = 0.0;
    for (int64_t n = 0; n < size.rows; ++n) {
      const int64_t at = n * size.width + h;
      // The derivative of softplus is the sigmoid, which is 1 − e^(−softplus).
      const double slope = -std::expm1(-static_cast<double>(damping.f32()[at]));
      const double gradient = ddamping.f32()[at] * slope;
      if (!dpre.empty()) dpre.f32()[at] = Round(gradient);
      sum += gradient;
    }
    Accumulate(dbias.f32()[h], sum);
  }
}

void ReferenceBackend::FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                           Tensor qkvg, Tensor out) {
  const auto size = contract::FieldReadoutForward(y, qkv, coupling, head_norm, qkvg, out);
  const std::vector<double> weights = SoftmaxRows(coupling);
  const int64_t width = size.width();
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* q = qkv.empty() ? nullptr : qkv.f32() + n * 3 * width;
    const Coupled row = Couple(size, weights, y.f32() + n * width, q);
    const float* gate = qkvg.f32() + n * 4 * width + 3 * width;
    for (int64_t i = 0; i < width; ++i) {
      const double normed = row.values[i] * row.inverse_rms[i / size.head_width];
      out.f32()[n * width + i] = Round(normed * head_norm.f32()[i] * Silu(gate[i]));
    }
  }
}

void ReferenceBackend::FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                            Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv,
                                            Tensor dqkvg, Tensor dcoupling, Tensor dhead_norm) {
  const auto size = contract::FieldReadoutBackward(y, qkv, coupling, head_norm, qkvg, dout, dy,
                                                   dqkv, dqkvg, dcoupling, dhead_norm);
  const std::vector<double> weights = SoftmaxRows(coupling);
  const int64_t width = size.width(), heads = size.heads, d = size.head_width;
  std::vector<double> dweights(heads * heads, 0.0), dnorm(width, 0.0), dvalues(width);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* in = y.f32() + n * width;
    const float* gradient = dout.f32() + n * width;
    const float* gate = qkvg.f32() + n * 4 * width + 3 * width;
    float* dgate = dqkvg.f32() + n * 4 * width + 3 * width;
    const float* q = qkv.empty() ? nullptr : qkv.f32() + n * 3 * width;
    const Coupled row = Couple(size, weights, in, q);
    for (int64_t h = 0; h < heads; ++h) {
      const double r = row.inverse_rms[h];
      double pull = 0.0;
      for (int64_t i = h * d; i < (h + 1) * d; ++i) {
        const double normed = row.values[i] * r, scale = head_norm.f32()[i];
        dgate[i] = Round(gradient[i] * normed * scale * SiluDerivative(gate[i]));
        dnorm[i] += gradient[i] * Silu(gate[i]) * normed;
        dvalues[i] = gradient[i] * Silu(gate[i]) * scale;
        pull += dvalues[i] * normed / static_cast<double>(d);
      }
      for (int64_t i = h * d; i < (h + 1) * d; ++i) {
        dvalues[i] = r * (dvalues[i] - pull * row.values[i] * r);
      }
    }
    for (int64_t i = 0; i < width && q != nullptr; ++i) {
      dqkv.f32()[n * 3 * width + i] = Round(dvalues[i] * row.mixed[i]);
      dvalues[i] *= q[i];
    }
    for (int64_t j = 0; j < heads; ++j) {
      for (int64_t c = 0; c < d; ++c) {
        double sum = 0.0;
        for (int64_t i = 0; i < heads; ++i) {
          sum += weights[i * heads + j] * dvalues[i * d + c];
          dweights[i * heads + j] += dvalues[i * d + c] * in[j * d + c];
        }
        dy.f32()[n * width + j * d + c] = Round(sum);
      }
    }
  }
  for (int64_t i = 0; i < heads; ++i) {
    double mean = 0.0;
    for (int64_t j = 0; j < heads; ++j) mean += weights[i * heads + j] * dweights[i * heads + j];
    for (int64_t j = 0; j < heads; ++j) {
      Accumulate(dcoupling.f32()[i * heads + j],
                 weights[i * heads + j] * (dweights[i * heads + j] - mean));
    }
  }
  for (int64_t i = 0; i < width; ++i) Accumulate(dhead_norm.f32()[i], dnorm[i]);
}

}  // namespace wavefield
