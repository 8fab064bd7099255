// The wave field as a direct sum over all pairs (t, s), s ≤ t.

#include <cmath>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/reference/formulas.h"
#include "core/backend/reference/reference_backend.h"

namespace wavefield {

using reference::Accumulate;
using reference::Round;

namespace {

double Dot(const float* a, const float* b, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// One head of one sequence.
struct Head {
  const contract::FieldSizes& size;
  int64_t sequence, head;

  int64_t Row(int64_t t) const { return sequence * size.tokens + t; }
  // q, k, v of token t for which = 0, 1, 2; works for dqkv as well.
  float* Part(const Tensor& qkv, int64_t t, int64_t which) const {
    return qkv.f32() + Row(t) * 3 * size.width() + which * size.width() + head * size.head_width;
  }
  float* Output(const Tensor& y, int64_t t) const {
    return y.f32() + Row(t) * size.width() + head * size.head_width;
  }
  // Σ_{r ≤ t} λ_r, for every t.
  std::vector<double> DampingSums(const Tensor& damping) const {
    std::vector<double> sums(size.tokens);
    double sum = 0.0;
    for (int64_t t = 0; t < size.tokens; ++t) {
      sum += damping.f32()[Row(t) * size.heads + head];
      sums[t] = sum;
    }
    return sums;
  }
};

// The state after the last token, from the one before the first.
void AdvanceState(const Head& head, const Tensor& qkv, const std::vector<double>& sums,
                  double omega, float* real, float* imaginary) {
  const int64_t tokens = head.size.tokens, d = head.size.head_width;
  if (tokens == 0) return;
  const double decay = std::exp(-sums[tokens - 1]), turn = omega * static_cast<double>(tokens);
  const double cosine = std::cos(turn), sine = std::sin(turn);
  std::vector<double> new_real(d * d), new_imaginary(d * d);
  for (int64_t at = 0; at < d * d; ++at) {
    new_real[at] = decay * (cosine * real[at] - sine * imaginary[at]);
    new_imaginary[at] = decay * (sine * real[at] + cosine * imaginary[at]);
  }
  for (int64_t s = 0; s < tokens; ++s) {
    const double gamma = std::exp(sums[s] - sums[tokens - 1]);
    const double angle = omega * static_cast<double>(tokens - 1 - s);
    const double weight_real = gamma * std::cos(angle), weight_imaginary = gamma * std::sin(angle);
    for (int64_t at = 0; at < d * d; ++at) {
      const double deposit =
          static_cast<double>(head.Part(qkv, s, 1)[at / d]) * head.Part(qkv, s, 2)[at % d];
      new_real[at] += weight_real * deposit;
      new_imaginary[at] += weight_imaginary * deposit;
    }
  }
  for (int64_t at = 0; at < d * d; ++at) {
    real[at] = Round(new_real[at]);
    imaginary[at] = Round(new_imaginary[at]);
  }
}

}  // namespace

void ReferenceBackend::FieldOuterForward(int64_t batch, Tensor qkv, Tensor damping,
                                         Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  const auto size = contract::FieldOuterForward(batch, qkv, damping, frequency, phase, state, y);
  const int64_t tokens = size.tokens, d = size.head_width;
  for (int64_t b = 0; b < size.batch; ++b) {
    for (int64_t h = 0; h < size.heads; ++h) {
      const Head head{size, b, h};
      const std::vector<double> sums = head.DampingSums(damping);
      const double omega = frequency.f32()[h], phi = phase.f32()[h];
      float* real =
          state.empty() ? nullptr : state.f32() + (b * size.heads + h) * size.state_elements();
      float* imaginary = state.empty() ? nullptr : real + d * d;
      for (int64_t t = 0; t < tokens; ++t) {
        const float* q = head.Part(qkv, t, 0);
        std::vector<double> out(d, 0.0);
        for (int64_t s = 0; s <= t; ++s) {
          const double kappa =
              std::exp(sums[s] - sums[t]) * std::cos(omega * static_cast<double>(t - s) + phi);
          const double weight = kappa * Dot(q, head.Part(qkv, s, 1), d);
          for (int64_t c = 0; c < d; ++c) out[c] += weight * head.Part(qkv, s, 2)[c];
        }
        if (!state.empty()) {
          const double theta = omega * static_cast<double>(t + 1) + phi;
          const double cosine = std::exp(-sums[t]) * std::cos(theta);
          const double sine = std::exp(-sums[t]) * std::sin(theta);
          for (int64_t k = 0; k < d; ++k) {
            for (int64_t c = 0; c < d; ++c) {
              out[c] += q[k] * (cosine * real[k * d + c] - sine * imaginary[k * d + c]);
            }
          }
        }
        for (int64_t c = 0; c < d; ++c) head.Output(y, t)[c] = Round(out[c]);
      }
      if (!state.empty()) AdvanceState(head, qkv, sums, omega, real, imaginary);
    }
  }
}

void ReferenceBackend::FieldOuterBackward(int64_t batch, Tensor qkv, Tensor damping,
                                          Tensor frequency, Tensor phase, Tensor dy, Tensor dqkv,
                                          Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const auto size = contract::FieldOuterBackward(batch, qkv, damping, frequency, phase, dy, dqkv,
                                                 ddamping, dfrequency, dphase);
  const int64_t tokens = size.tokens, d = size.head_width;
  for (int64_t h = 0; h < size.heads; ++h) {
    const double omega = frequency.f32()[h], phi = phase.f32()[h];
    double domega = 0.0, dphi = 0.0;
    for (int64_t b = 0; b < size.batch; ++b) {
      const Head head{size, b, h};
      const std::vector<double> sums = head.DampingSums(damping);
      std::vector<double> dq(tokens * d, 0.0), dk(tokens * d, 0.0), dv(tokens * d, 0.0);
      // λ_r damps every pair with s < r ≤ t: a difference array over r.
      std::vector<double> steps(tokens + 1, 0.0);
      for (int64_t t = 0; t < tokens; ++t) {
        const float* q = head.Part(qkv, t, 0);
        const float* gradient = head.Output(dy, t);
        for (int64_t s = 0; s <= t; ++s) {
          const float* k = head.Part(qkv, s, 1);
          const float* v = head.Part(qkv, s, 2);
          const double distance = static_cast<double>(t - s);
          const double gamma = std::exp(sums[s] - sums[t]);
          const double cosine = std::cos(omega * distance + phi);
          const double sine = std::sin(omega * distance + phi);
          const double match = Dot(q, k, d), pull = Dot(gradient, v, d);
          for (int64_t c = 0; c < d; ++c) {
            dq[t * d + c] += gamma * cosine * pull * k[c];
            dk[s * d + c] += gamma * cosine * pull * q[c];
            dv[s * d + c] += gamma * cosine * match * gradient[c];
          }
          dphi -= gamma * sine * match * pull;
          domega -= distance * gamma * sine * match * pull;
          steps[s + 1] -= gamma * cosine * match * pull;
          steps[t + 1] += gamma * cosine * match * pull;
        }
      }
      double slope = 0.0;
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t c = 0; c < d; ++c) {
          head.Part(dqkv, t, 0)[c] = Round(dq[t * d + c]);
          head.Part(dqkv, t, 1)[c] = Round(dk[t * d + c]);
          head.Part(dqkv, t, 2)[c] = Round(dv[t * d + c]);
        }
        slope += steps[t];
        ddamping.f32()[head.Row(t) * size.heads + h] = Round(slope);
      }
    }
    Accumulate(dfrequency.f32()[h], domega);
    Accumulate(dphase.f32()[h], dphi);
  }
}

}  // namespace wavefield
