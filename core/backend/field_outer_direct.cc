#include "core/backend/field_outer_direct.h"

#include <cmath>
#include <complex>
#include <vector>

namespace wavefield {
namespace {

using Complex = std::complex<double>;
using Field = std::vector<Complex>;  // [d, d]; none when empty

// body(row, column, index) for every element of a field.
template <class Body>
void ForEachElement(int64_t d, const Body& body) {
  for (int64_t row = 0; row < d; ++row) {
    for (int64_t column = 0; column < d; ++column) body(row, column, row * d + column);
  }
}

// xᵀ · field · g, x and g real.
Complex Between(const float* x, const Field& field, const float* g, int64_t d) {
  Complex sum = 0.0;
  ForEachElement(d, [&](int64_t row, int64_t column, int64_t at) {
    sum += field[at] * (static_cast<double>(x[row]) * g[column]);
  });
  return sum;
}

double Dot(const float* a, const float* b, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// One head of one sequence. "Token −1" is where the state before the piece stands.
class Head {
 public:
  Head(const contract::FieldSizes& size, int64_t item, const Tensor& damping,
       const Tensor& frequency, const Tensor& phase)
      : size_(size),
        item_(item),
        omega_(frequency.f32()[head()]),
        phi_(phase.f32()[head()]),
        damping_sums_(size.tokens + 1) {
    for (int64_t t = 0; t < size.tokens; ++t) {
      damping_sums_[t + 1] =
          damping_sums_[t] + damping.f32()[Row(t) * size.damping_stride() + head()];
    }
  }

  int64_t head() const { return item_ % size_.heads; }
  int64_t Row(int64_t t) const { return item_ / size_.heads * size_.tokens + t; }
  // q, k, v of token t for which = 0, 1, 2; works for dqkv as well.
  float* Part(const Tensor& qkv, int64_t t, int64_t which) const {
    return qkv.f32() + (Row(t) * 3 + which) * size_.width() + head() * size_.head_width;
  }
  float* Output(const Tensor& y, int64_t t) const {
    return y.f32() + Row(t) * size_.width() + head() * size_.head_width;
  }
  Field Load(const Tensor& state) const {
    if (state.empty()) return {};
    Field field(Elements());
    const float* real = State(state);
    for (int64_t at = 0; at < Elements(); ++at) field[at] = {real[at], real[Elements() + at]};
    return field;
  }
  void Store(const Field& field, const Tensor& state) const {
    float* real = State(state);
    for (int64_t at = 0; at < Elements(); ++at) {
      real[at] = static_cast<float>(field[at].real());
      real[Elements() + at] = static_cast<float>(field[at].imag());
    }
  }
  // What a deposit of token s has become in the field at token t: Γ(t, s) e^{iω(t−s)}.
  Complex Passage(int64_t s, int64_t t) const { return Wave(s, t, 0.0); }
  // What y_t hears of it: the real part of Γ(t, s) e^{i(ω(t−s)+φ)}.
  Complex Reading(int64_t s, int64_t t) const { return Wave(s, t, phi_); }

 private:
  Complex Wave(int64_t s, int64_t t, double phase) const {
    const double decay = std::exp(damping_sums_[s + 1] - damping_sums_[t + 1]);
    const double angle = omega_ * static_cast<double>(t - s) + phase;
    return {decay * std::cos(angle), decay * std::sin(angle)};
  }
  int64_t Elements() const { return size_.head_width * size_.head_width; }
  float* State(const Tensor& state) const { return state.f32() + item_ * 2 * Elements(); }

  const contract::FieldSizes& size_;
  const int64_t item_;
  const double omega_, phi_;
  std::vector<double> damping_sums_;  // [t + 1]: Σ_{r ≤ t} λ_r
};

// Gradients of ω, φ and λ. The loss depends on each of them through real parts of `share`, a wave
// from token s to token t times what it carries.
class WaveTally {
 public:
  explicit WaveTally(int64_t tokens) : steps_(tokens + 1) {}

  void Pass(int64_t s, int64_t t, Complex share) {
    omega_ -= static_cast<double>(t - s) * share.imag();
    // λ_r damps whatever passes from s < r to t ≥ r: a difference array over r.
    steps_[s + 1] -= share.real();
    steps_[t + 1] += share.real();
  }
  void Read(int64_t s, int64_t t, Complex share) {
    Pass(s, t, share);
    phi_ -= share.imag();
  }
  double omega() const { return omega_; }
  double phi() const { return phi_; }
  std::vector<double> DampingGradients() const {
    std::vector<double> gradients(steps_.size() - 1);
    double slope = 0.0;
    for (size_t t = 0; t < gradients.size(); ++t) gradients[t] = slope += steps_[t];
    return gradients;
  }

 private:
  double omega_ = 0.0, phi_ = 0.0;
  std::vector<double> steps_;
};

}  // namespace

void DirectOuterForward(const contract::FieldSizes& size, int64_t item, Tensor qkv, Tensor damping,
                        Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  const Head head(size, item, damping, frequency, phase);
  const int64_t d = size.head_width, last = size.tokens - 1;
  const Field before = head.Load(state);
  for (int64_t t = 0; t < size.tokens; ++t) {
    const float* q = head.Part(qkv, t, 0);
    std::vector<double> out(d, 0.0);
    for (int64_t s = 0; s <= t; ++s) {
      const double weight = head.Reading(s, t).real() * Dot(q, head.Part(qkv, s, 1), d);
      for (int64_t c = 0; c < d; ++c) out[c] += weight * head.Part(qkv, s, 2)[c];
    }
    if (!before.empty()) {
      const Complex wave = head.Reading(-1, t);
      ForEachElement(d, [&](int64_t row, int64_t column, int64_t at) {
        out[column] += q[row] * (wave * before[at]).real();
      });
    }
    for (int64_t c = 0; c < d; ++c) head.Output(y, t)[c] = static_cast<float>(out[c]);
  }
  if (before.empty()) return;
  Field after(d * d);
  const Complex passage = head.Passage(-1, last);
  for (int64_t at = 0; at < d * d; ++at) after[at] = passage * before[at];
  for (int64_t s = 0; s < size.tokens; ++s) {
    const Complex wave = head.Passage(s, last);
    const float* k = head.Part(qkv, s, 1);
    const float* v = head.Part(qkv, s, 2);
    ForEachElement(d, [&](int64_t row, int64_t column, int64_t at) {
      after[at] += wave * (static_cast<double>(k[row]) * v[column]);
    });
  }
  head.Store(after, state);
}

WaveSums DirectOuterBackward(const contract::FieldSizes& size, int64_t item, Tensor qkv,
                             Tensor damping, Tensor frequency, Tensor phase, Tensor state,
                             Tensor dy, Tensor dstate, Tensor dqkv, Tensor ddamping) {
  const Head head(size, item, damping, frequency, phase);
  const int64_t tokens = size.tokens, d = size.head_width, last = tokens - 1;
  const Field before = head.Load(state), dafter = head.Load(dstate);
  Field dbefore(before.size());
  std::vector<double> dq(tokens * d, 0.0), dk(tokens * d, 0.0), dv(tokens * d, 0.0);
  WaveTally tally(tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* q = head.Part(qkv, t, 0);
    const float* gradient = head.Output(dy, t);
    for (int64_t s = 0; s <= t; ++s) {
      const float* k = head.Part(qkv, s, 1);
      const float* v = head.Part(qkv, s, 2);
      const Complex wave = head.Reading(s, t);
      const double match = Dot(q, k, d), pull = Dot(gradient, v, d);
      for (int64_t c = 0; c < d; ++c) {
        dq[t * d + c] += wave.real() * pull * k[c];
        dk[s * d + c] += wave.real() * pull * q[c];
        dv[s * d + c] += wave.real() * match * gradient[c];
      }
      tally.Read(s, t, wave * (match * pull));
    }
    if (before.empty()) continue;
    const Complex wave = head.Reading(-1, t);
    ForEachElement(d, [&](int64_t row, int64_t column, int64_t at) {
      dq[t * d + row] += (wave * before[at]).real() * gradient[column];
      dbefore[at] += std::conj(wave) * (static_cast<double>(q[row]) * gradient[column]);
    });
    tally.Read(-1, t, wave * Between(q, before, gradient, d));
  }
  if (!dafter.empty()) {
    for (int64_t s = 0; s < tokens; ++s) {
      const Complex wave = head.Passage(s, last);
      const float* k = head.Part(qkv, s, 1);
      const float* v = head.Part(qkv, s, 2);
      ForEachElement(d, [&](int64_t row, int64_t column, int64_t at) {
        const double deposit_gradient = (std::conj(wave) * dafter[at]).real();
        dk[s * d + row] += deposit_gradient * v[column];
        dv[s * d + column] += deposit_gradient * k[row];
      });
      tally.Pass(s, last, wave * std::conj(Between(k, dafter, v, d)));
    }
    const Complex wave = head.Passage(-1, last);
    Complex carried = 0.0;
    for (int64_t at = 0; at < d * d; ++at) {
      dbefore[at] += std::conj(wave) * dafter[at];
      carried += before[at] * std::conj(dafter[at]);
    }
    tally.Pass(-1, last, wave * carried);
    head.Store(dbefore, dstate);
  }

  WaveSums sums{tally.omega(), tally.phi()};
  const std::vector<double> slopes = tally.DampingGradients();
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < d; ++c) {
      head.Part(dqkv, t, 0)[c] = static_cast<float>(dq[t * d + c]);
      head.Part(dqkv, t, 1)[c] = static_cast<float>(dk[t * d + c]);
      head.Part(dqkv, t, 2)[c] = static_cast<float>(dv[t * d + c]);
    }
    if (size.static_damping) {
      sums.damping += slopes[t];
    } else {
      ddamping.f32()[head.Row(t) * size.heads + head.head()] = static_cast<float>(slopes[t]);
    }
  }
  return sums;
}

}  // namespace wavefield
