#include "core/backend/field_elementwise_direct.h"

#include <cmath>
#include <complex>
#include <vector>

namespace wavefield {
namespace {

using Complex = std::complex<double>;

// Without the special cases for infinities that operator* has.
Complex Times(Complex a, Complex b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

// One head of one sequence. Deposit 0 is the state before the first token, deposit s + 1 is what
// token s leaves, k_s ⊙ v_s.
class Head {
 public:
  Head(const contract::FieldSizes& size, int64_t sequence, int64_t head, const Tensor& qkv,
       const Tensor& damping, const Tensor& frequency, const Tensor& state)
      : size_(size),
        sequence_(sequence),
        head_(head),
        omega_(frequency.f32()[head]),
        damping_sums_(size.tokens + 1, 0.0),
        deposits_((size.tokens + 1) * size.head_width) {
    for (int64_t t = 0; t < size.tokens; ++t) {
      const float* lambda = damping.f32() + (size.static_damping ? 0 : Row(t) * size.heads);
      damping_sums_[t + 1] = damping_sums_[t] + lambda[head];
      const float* k = Part(qkv, t, 1);
      const float* v = Part(qkv, t, 2);
      for (int64_t c = 0; c < d(); ++c) {
        deposits_[(t + 1) * d() + c] = static_cast<double>(k[c]) * v[c];
      }
    }
    if (state.empty()) return;
    for (int64_t c = 0; c < d(); ++c) {
      deposits_[c] = {State(state)[c], State(state)[d() + c]};
    }
  }

  int64_t d() const { return size_.head_width; }
  int64_t Row(int64_t t) const { return sequence_ * size_.tokens + t; }
  // q, k, v of token t for which = 0, 1, 2; works for dqkv as well.
  float* Part(const Tensor& qkv, int64_t t, int64_t which) const {
    return qkv.f32() + (Row(t) * 3 + which) * size_.width() + head_ * d();
  }
  float* Field(const Tensor& field, int64_t t) const {
    return field.f32() + Row(t) * size_.width() + head_ * d();
  }
  // Real part, then imaginary part.
  float* State(const Tensor& state) const {
    return state.f32() + (sequence_ * size_.heads + head_) * 2 * d();
  }
  const Complex* Deposit(int64_t s) const { return deposits_.data() + s * d(); }
  // What is left of deposit s when token t has come: Γ e^{iω·distance}.
  Complex Passage(int64_t s, int64_t t) const {
    return std::polar(std::exp(damping_sums_[s] - damping_sums_[t + 1]),
                      omega_ * static_cast<double>(t + 1 - s));
  }
  // z as of token t.
  std::vector<Complex> FieldOf(int64_t t) const {
    std::vector<Complex> z(d());
    for (int64_t s = 0; s <= t + 1; ++s) {
      const Complex passage = Passage(s, t);
      for (int64_t c = 0; c < d(); ++c) z[c] += Times(passage, Deposit(s)[c]);
    }
    return z;
  }

 private:
  const contract::FieldSizes& size_;
  const int64_t sequence_, head_;
  const double omega_;
  std::vector<double> damping_sums_;  // Σ_{r < t} λ_r
  std::vector<Complex> deposits_;
};

// The gradients of one head of one sequence. A gradient with respect to a complex x is
// ∂/∂Re x + i ∂/∂Im x.
struct Gradients {
  explicit Gradients(const contract::FieldSizes& size)
      : deposits((size.tokens + 1) * size.head_width), damping(size.tokens + 1, 0.0) {}

  // Of z as of token t, `gradient` [d]; returns Σ conj(gradient) · z.
  Complex Add(const Head& head, int64_t t, const std::vector<Complex>& gradient) {
    Complex total;
    for (int64_t s = 0; s <= t + 1; ++s) {
      const Complex passage = head.Passage(s, t);
      Complex pull;
      for (int64_t c = 0; c < head.d(); ++c) {
        const Complex there = Times(std::conj(passage), gradient[c]);
        deposits[s * head.d() + c] += there;
        pull += Times(std::conj(there), head.Deposit(s)[c]);
      }
      omega -= static_cast<double>(t + 1 - s) * pull.imag();
      // λ_r damps every pair with s ≤ r ≤ t (s counted as a deposit).
      damping[s] -= pull.real();
      damping[t + 1] += pull.real();
      total += pull;
    }
    return total;
  }

  std::vector<Complex> deposits;
  std::vector<double> damping;  // a difference array over tokens
  double omega = 0.0, phi = 0.0;
};

void AddTo(float& sum, double x) { sum = static_cast<float>(sum + x); }

}  // namespace

void FieldElementwiseDirectForward(const contract::FieldSizes& size, Tensor qkv, Tensor damping,
                                   Tensor frequency, Tensor phase, Tensor state, Tensor field) {
  if (size.tokens == 0) return;
  for (int64_t b = 0; b < size.batch; ++b) {
    for (int64_t h = 0; h < size.heads; ++h) {
      const Head head(size, b, h, qkv, damping, frequency, state);
      const Complex read = std::polar(1.0, static_cast<double>(phase.f32()[h]));
      std::vector<Complex> z;
      for (int64_t t = 0; t < size.tokens; ++t) {
        z = head.FieldOf(t);
        for (int64_t c = 0; c < head.d(); ++c) {
          head.Field(field, t)[c] = static_cast<float>(Times(read, z[c]).real());
        }
      }
      if (state.empty()) continue;
      for (int64_t c = 0; c < head.d(); ++c) {
        head.State(state)[c] = static_cast<float>(z[c].real());
        head.State(state)[head.d() + c] = static_cast<float>(z[c].imag());
      }
    }
  }
}

void FieldElementwiseDirectBackward(const contract::FieldSizes& size, Tensor qkv, Tensor damping,
                                    Tensor frequency, Tensor phase, Tensor state, Tensor dfield,
                                    Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                    Tensor dphase) {
  const int64_t tokens = size.tokens, d = size.head_width;
  for (int64_t h = 0; h < size.heads; ++h) {
    const Complex read = std::polar(1.0, static_cast<double>(phase.f32()[h]));
    double domega = 0.0, dphi = 0.0, static_ddamping = 0.0;
    for (int64_t b = 0; b < size.batch && tokens > 0; ++b) {
      const Head head(size, b, h, qkv, damping, frequency, state);
      Gradients sums(size);
      std::vector<Complex> gradient(d);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t c = 0; c < d; ++c) {
          gradient[c] = std::conj(read) * static_cast<double>(head.Field(dfield, t)[c]);
        }
        dphi -= sums.Add(head, t, gradient).imag();
      }
      if (!dstate.empty()) {
        for (int64_t c = 0; c < d; ++c) {
          gradient[c] = {head.State(dstate)[c], head.State(dstate)[d + c]};
        }
        sums.Add(head, tokens - 1, gradient);
        for (int64_t c = 0; c < d; ++c) {
          head.State(dstate)[c] = static_cast<float>(sums.deposits[c].real());
          head.State(dstate)[d + c] = static_cast<float>(sums.deposits[c].imag());
        }
      }
      domega += sums.omega;
      double slope = 0.0;
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t c = 0; c < d; ++c) {
          const double ddeposit = sums.deposits[(t + 1) * d + c].real();
          head.Part(dqkv, t, 1)[c] = static_cast<float>(ddeposit * head.Part(qkv, t, 2)[c]);
          head.Part(dqkv, t, 2)[c] = static_cast<float>(ddeposit * head.Part(qkv, t, 1)[c]);
        }
        slope += sums.damping[t];
        static_ddamping += slope;
        if (!size.static_damping) {
          ddamping.f32()[head.Row(t) * size.heads + h] = static_cast<float>(slope);
        }
      }
    }
    if (size.static_damping) ddamping.f32()[h] = static_cast<float>(static_ddamping);
    AddTo(dfrequency.f32()[h], domega);
    AddTo(dphase.f32()[h], dphi);
  }
}

}  // namespace wavefield
