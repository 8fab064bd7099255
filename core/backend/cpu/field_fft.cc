#include "core/backend/cpu/field_fft.h"

#include <kiss_fftr.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <string>

#include "core/backend/cpu/parallel.h"
#include "core/backend/wave_sums.h"
#include "core/base/check.h"

namespace wavefield {
namespace {

using Complex = std::complex<double>;

// Channels done together: a cache line of a row.
constexpr int64_t kStripe = 16;
constexpr int64_t kLongest = int64_t{1} << 28;  // tokens; KissFFT counts in int
constexpr size_t kKeptLengths = 8;

// Shapes of one call.
struct Sizes {
  explicit Sizes(const contract::FieldSizes& field)
      : tokens(field.tokens),
        heads(field.heads),
        head_width(field.head_width),
        stripes((field.head_width + kStripe - 1) / kStripe) {
    WF_CHECK_MSG(tokens <= kLongest, "the FFT of " + std::to_string(tokens) + " tokens, at most " +
                                         std::to_string(kLongest));
    length = kiss_fftr_next_fast_size_real(static_cast<int>(2 * tokens));
    bins = length / 2 + 1;
  }
  int64_t tokens, heads, head_width;
  int64_t stripes;       // of a head
  int64_t length, bins;  // of the transforms
};

Complex Times(Complex a, Complex b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

// e^x − 1, exact to rounding near 0 too.
Complex ExpMinusOne(Complex x) {
  const double half_sine = std::sin(0.5 * x.imag()), growth = std::exp(x.real());
  return {std::expm1(x.real()) * std::cos(x.imag()) - 2.0 * half_sine * half_sine,
          growth * std::sin(x.imag())};
}

// Σ_{n<T} e^{an} for a = −λ + iβ.
Complex GeometricSum(double lambda, double beta, int64_t tokens) {
  const double turn = std::remainder(beta, 2.0 * M_PI);
  const Complex below = ExpMinusOne({-lambda, turn});
  if (std::norm(below) == 0.0) return static_cast<double>(tokens);
  const auto count = static_cast<double>(tokens);
  const Complex above = ExpMinusOne({-lambda * count, turn * count});
  return Times(above, std::conj(below)) / std::norm(below);
}

// The spectrum of κ_n = e^{−λn} cos(ωn + φ), n < T, over the transform's length.
void KernelSpectrum(const Sizes& sizes, double lambda, double omega, double phi,
                    kiss_fft_cpx* spectrum) {
  const Complex read = std::polar(0.5 / static_cast<double>(sizes.length), phi);
  for (int64_t j = 0; j < sizes.bins; ++j) {
    const double theta = 2.0 * M_PI * static_cast<double>(j) / static_cast<double>(sizes.length);
    const Complex value =
        Times(read, GeometricSum(lambda, omega - theta, sizes.tokens)) +
        Times(std::conj(read), GeometricSum(lambda, -omega - theta, sizes.tokens));
    spectrum[j] = {static_cast<float>(value.real()), static_cast<float>(value.imag())};
  }
}

void KernelSpectra(const Sizes& sizes, const Tensor& damping, const Tensor& frequency,
                   const Tensor& phase, int threads, kiss_fft_cpx* spectra) {
  ParallelRanges(threads, sizes.heads, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      KernelSpectrum(sizes, damping.f32()[h], frequency.f32()[h], phase.f32()[h],
                     spectra + h * sizes.bins);
    }
  });
}

// The first T values of `line` [length]; the rest becomes 0.
void Transform(const Sizes& sizes, kiss_fftr_cfg plan, float* line, kiss_fft_cpx* spectrum) {
  std::fill(line + sizes.tokens, line + sizes.length, 0.0f);
  kiss_fftr(plan, line, spectrum);
}

kiss_fft_cpx Product(kiss_fft_cpx a, kiss_fft_cpx b) {
  return {a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r};
}
kiss_fft_cpx ConjugateProduct(kiss_fft_cpx a, kiss_fft_cpx b) {
  return {a.r * b.r + a.i * b.i, a.r * b.i - a.i * b.r};
}

// A stripe of channels of one head, over one sequence.
struct Stripe {
  Stripe(const Sizes& sizes, int64_t sequence, int64_t head, int64_t stripe)
      : tokens(sizes.tokens),
        width(sizes.heads * sizes.head_width),
        first_row(sequence * sizes.tokens),
        channel(head * sizes.head_width + stripe * kStripe),
        count(std::min(kStripe, sizes.head_width - stripe * kStripe)) {}

  float* K(const Tensor& qkv, int64_t t) const {
    return qkv.f32() + (first_row + t) * 3 * width + width + channel;
  }
  float* V(const Tensor& qkv, int64_t t) const { return K(qkv, t) + width; }
  float* Row(const Tensor& field, int64_t t) const {
    return field.f32() + (first_row + t) * width + channel;
  }
  // lines [count, tokens] = k ⊙ v.
  void GatherDeposits(const Tensor& qkv, float* lines) const {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < count; ++c) lines[c * tokens + t] = K(qkv, t)[c] * V(qkv, t)[c];
    }
  }

  int64_t tokens, width, first_row, channel, count;
};

int64_t ThreadRoom(const Sizes& sizes, int lines, int spectra) {
  return lines * kStripe * sizes.tokens + sizes.length + spectra * 2 * sizes.bins;
}

// r: the gradient of κ_n, n < T. Returns the gradients of φ, ω, λ.
WaveSums KernelGradient(int64_t tokens, double lambda, double omega, double phi, const float* r) {
  WaveSums sums;
  for (int64_t n = 0; n < tokens; ++n) {
    const auto distance = static_cast<double>(n);
    const double decay = std::exp(-lambda * distance);
    if (decay == 0.0) break;
    const double slope = decay * std::sin(omega * distance + phi) * r[n];
    sums.phi -= slope;
    sums.omega -= distance * slope;
    sums.damping -= distance * decay * std::cos(omega * distance + phi) * r[n];
  }
  return sums;
}

}  // namespace

const std::vector<FftPlans::Pair>& FftPlans::Get(int64_t length, int threads) {
  const auto found = plans_.find(length);
  if (found != plans_.end() && found->second.size() >= static_cast<size_t>(threads)) {
    return found->second;
  }
  if (plans_.size() >= kKeptLengths) plans_.clear();
  std::vector<Pair>& pairs = plans_[length];
  const auto make = [&](int inverse) {
    Plan plan(kiss_fftr_alloc(static_cast<int>(length), inverse, nullptr, nullptr));
    WF_CHECK_MSG(plan != nullptr, "no memory for an FFT of length " + std::to_string(length));
    return plan;
  };
  while (pairs.size() < static_cast<size_t>(threads)) pairs.push_back({make(0), make(1)});
  return pairs;
}

int64_t FieldFftForwardRoom(const contract::FieldSizes& size, int threads) {
  const Sizes sizes(size);
  return sizes.heads * 2 * sizes.bins + threads * ThreadRoom(sizes, 1, 1);
}

void FieldFftForward(const contract::FieldSizes& size, Tensor qkv, Tensor damping, Tensor frequency,
                     Tensor phase, int threads, FftPlans& plans, float* room, Tensor field) {
  const Sizes sizes(size);
  auto* kernels = reinterpret_cast<kiss_fft_cpx*>(room);
  KernelSpectra(sizes, damping, frequency, phase, threads, kernels);
  room += sizes.heads * 2 * sizes.bins;
  const auto& pairs = plans.Get(sizes.length, threads);
  const int64_t per_sequence = sizes.heads * sizes.stripes;
  ParallelRanges(threads, size.batch * per_sequence, 1,
                 [&](int thread, int64_t first, int64_t last) {
                   float* line = room + thread * ThreadRoom(sizes, 1, 1);
                   auto* spectrum = reinterpret_cast<kiss_fft_cpx*>(line + sizes.length);
                   float* lines = line + sizes.length + 2 * sizes.bins;
                   for (int64_t item = first; item < last; ++item) {
                     const int64_t head = item / sizes.stripes % sizes.heads;
                     const Stripe stripe(sizes, item / per_sequence, head, item % sizes.stripes);
                     const kiss_fft_cpx* kernel = kernels + head * sizes.bins;
                     stripe.GatherDeposits(qkv, lines);
                     for (int64_t c = 0; c < stripe.count; ++c) {
                       float* values = lines + c * sizes.tokens;
                       std::copy_n(values, sizes.tokens, line);
                       Transform(sizes, pairs[thread].forward.get(), line, spectrum);
                       for (int64_t j = 0; j < sizes.bins; ++j)
                         spectrum[j] = Product(kernel[j], spectrum[j]);
                       kiss_fftri(pairs[thread].inverse.get(), spectrum, line);
                       std::copy_n(line, sizes.tokens, values);
                     }
                     for (int64_t t = 0; t < sizes.tokens; ++t) {
                       for (int64_t c = 0; c < stripe.count; ++c) {
                         stripe.Row(field, t)[c] = lines[c * sizes.tokens + t];
                       }
                     }
                   }
                 });
}

int64_t FieldFftBackwardRoom(const contract::FieldSizes& size, int threads) {
  const Sizes sizes(size);
  constexpr int64_t kSumFloats = sizeof(WaveSums) / sizeof(float);
  // Cross-spectra are doubles.
  return size.batch * sizes.heads * kSumFloats + sizes.heads * sizes.stripes * 4 * sizes.bins +
         sizes.heads * 2 * sizes.bins + threads * ThreadRoom(sizes, 2, 2);
}

void FieldFftBackward(const contract::FieldSizes& size, Tensor qkv, Tensor damping,
                      Tensor frequency, Tensor phase, Tensor dfield, int threads, FftPlans& plans,
                      float* room, Tensor dqkv, Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const Sizes sizes(size);
  auto* sums = reinterpret_cast<WaveSums*>(room);
  auto* crosses = reinterpret_cast<Complex*>(sums + size.batch * sizes.heads);
  auto* kernels =
      reinterpret_cast<kiss_fft_cpx*>(crosses + sizes.heads * sizes.stripes * sizes.bins);
  room = reinterpret_cast<float*>(kernels + sizes.heads * sizes.bins);
  std::fill_n(sums, size.batch * sizes.heads, WaveSums{});
  KernelSpectra(sizes, damping, frequency, phase, threads, kernels);
  const auto& pairs = plans.Get(sizes.length, threads);

  const int64_t items = sizes.heads * sizes.stripes;
  ParallelRanges(threads, items, 1, [&](int thread, int64_t first, int64_t last) {
    float* line = room + thread * ThreadRoom(sizes, 2, 2);
    auto* deposit = reinterpret_cast<kiss_fft_cpx*>(line + sizes.length);
    kiss_fft_cpx* gradient = deposit + sizes.bins;
    float* deposits = reinterpret_cast<float*>(gradient + sizes.bins);
    float* gradients = deposits + kStripe * sizes.tokens;
    for (int64_t item = first; item < last; ++item) {
      const int64_t head = item / sizes.stripes;
      const kiss_fft_cpx* kernel = kernels + head * sizes.bins;
      Complex* cross = crosses + item * sizes.bins;
      std::fill_n(cross, sizes.bins, Complex(0.0));
      for (int64_t b = 0; b < size.batch; ++b) {
        const Stripe stripe(sizes, b, head, item % sizes.stripes);
        stripe.GatherDeposits(qkv, deposits);
        for (int64_t t = 0; t < sizes.tokens; ++t) {
          for (int64_t c = 0; c < stripe.count; ++c) {
            gradients[c * sizes.tokens + t] = stripe.Row(dfield, t)[c];
          }
        }
        for (int64_t c = 0; c < stripe.count; ++c) {
          std::copy_n(deposits + c * sizes.tokens, sizes.tokens, line);
          Transform(sizes, pairs[thread].forward.get(), line, deposit);
          std::copy_n(gradients + c * sizes.tokens, sizes.tokens, line);
          Transform(sizes, pairs[thread].forward.get(), line, gradient);
          for (int64_t j = 0; j < sizes.bins; ++j) {
            const kiss_fft_cpx product = ConjugateProduct(deposit[j], gradient[j]);
            cross[j] += Complex(product.r, product.i);
            gradient[j] = ConjugateProduct(kernel[j], gradient[j]);
          }
          kiss_fftri(pairs[thread].inverse.get(), gradient, line);
          std::copy_n(line, sizes.tokens, deposits + c * sizes.tokens);
        }
        for (int64_t t = 0; t < sizes.tokens; ++t) {
          for (int64_t c = 0; c < stripe.count; ++c) {
            const float ddeposit = deposits[c * sizes.tokens + t];
            stripe.K(dqkv, t)[c] = ddeposit * stripe.V(qkv, t)[c];
            stripe.V(dqkv, t)[c] = ddeposit * stripe.K(qkv, t)[c];
          }
        }
      }
    }
  });

  ParallelRanges(threads, sizes.heads, 1, [&](int thread, int64_t begin, int64_t end) {
    float* line = room + thread * ThreadRoom(sizes, 2, 2);
    auto* spectrum = reinterpret_cast<kiss_fft_cpx*>(line + sizes.length);
    const double scale = 1.0 / static_cast<double>(sizes.length);
    for (int64_t h = begin; h < end; ++h) {
      for (int64_t j = 0; j < sizes.bins; ++j) {
        Complex sum = 0.0;
        for (int64_t i = 0; i < sizes.stripes; ++i) {
          sum += crosses[(h * sizes.stripes + i) * sizes.bins + j];
        }
        spectrum[j] = {static_cast<float>(sum.real() * scale),
                       static_cast<float>(sum.imag() * scale)};
      }
      kiss_fftri(pairs[thread].inverse.get(), spectrum, line);
      sums[h] =
          KernelGradient(sizes.tokens, damping.f32()[h], frequency.f32()[h], phase.f32()[h], line);
    }
  });
  contract::FieldSizes as_static = size;  // of one row, damping [N, H] is static too
  as_static.static_damping = true;
  ReduceWaveSums(as_static, sums, ddamping, dfrequency, dphase);
}

}  // namespace wavefield
