#include <algorithm>
#include <cmath>
#include <complex>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/rotary.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// Every pair (x[2i], x[2i+1]) turns; cosines, sines, [pairs].
void TurnRow(int64_t pairs, const float* cosines, const float* sines, float* x) {
  ForEachVector(pairs, [&](auto d, int64_t i) HWY_ATTR {
    const auto cosine = hn::LoadU(d, cosines + i), sine = hn::LoadU(d, sines + i);
    hn::Vec<decltype(d)> a, b;
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
    hn::StoreInterleaved2(hn::MulSub(a, cosine, hn::Mul(b, sine)),
                          hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, x + 2 * i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(TurnRow);

namespace {

// Angles are those of the last whole multiple of this plus those of the rest: two short tables
// instead of a sine for every token. Stretches begin at whole multiples, so that the bits do not
// depend on how a sequence is cut into pieces.
constexpr int64_t kStretch = 64;  // tokens

using Turn = std::complex<double>;

Turn TurnOf(int64_t tokens, double angle) {
  const double total = std::remainder(static_cast<double>(tokens) * angle, 2 * M_PI);
  return {std::cos(total), std::sin(total)};
}

}  // namespace

void CpuBackend::Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse, Tensor qkv) {
  const auto size = contract::Rotary(batch, heads, position, qkv);
  const int64_t d = size.head_width, pairs = d / 2, end = position + size.tokens;
  if (size.tokens == 0) return;
  // Doubles: [pairs] angles and [kStretch, pairs] turns within a stretch; then for each thread
  // [pairs] turns to its stretch, and two rows of floats.
  const int64_t room = 3 * pairs;  // doubles
  auto* angles =
      reinterpret_cast<double*>(Scratch(2 * (pairs + 2 * kStretch * pairs + threads_ * room)));
  auto* within = reinterpret_cast<Turn*>(angles + pairs);
  double* rooms = angles + pairs + 2 * kStretch * pairs;
  for (int64_t i = 0; i < pairs; ++i) {
    angles[i] = std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d));
    const int64_t first = size.tokens < kStretch ? position % kStretch : 0;
    for (int64_t n = 0; n < std::min(size.tokens, kStretch); ++n) {
      const int64_t token = (first + n) % kStretch;
      within[token * pairs + i] = TurnOf(token, angles[i]);
    }
  }
  const int64_t first_stretch = position / kStretch;
  const int64_t stretches = (end - 1) / kStretch - first_stretch + 1;
  ParallelRanges(threads_, stretches, 1, [&](int thread, int64_t begin, int64_t last) {
    auto* to_stretch = reinterpret_cast<Turn*>(rooms + thread * room);
    auto* cosines = reinterpret_cast<float*>(to_stretch + pairs);
    float* sines = cosines + pairs;
    for (int64_t stretch = first_stretch + begin; stretch < first_stretch + last; ++stretch) {
      const int64_t start = stretch * kStretch;
      for (int64_t i = 0; i < pairs; ++i) to_stretch[i] = TurnOf(start, angles[i]);
      for (int64_t token = std::max(start, position); token < std::min(start + kStretch, end);
           ++token) {
        const Turn* rest = within + (token - start) * pairs;
        for (int64_t i = 0; i < pairs; ++i) {
          const Turn &a = to_stretch[i], &b = rest[i];
          const auto cosine = static_cast<float>(a.real() * b.real() - a.imag() * b.imag());
          const auto sine = static_cast<float>(a.real() * b.imag() + a.imag() * b.real());
          cosines[i] = cosine;
          sines[i] = inverse ? -sine : sine;
        }
        for (int64_t b = 0; b < batch; ++b) {
          float* q = qkv.f32() + (b * size.tokens + token - position) * 3 * size.width();
          for (int64_t h = 0; h < 2 * heads; ++h) {  // q's heads, then k's
            HWY_DYNAMIC_DISPATCH(TurnRow)(pairs, cosines, sines, q + h * d);
          }
        }
      }
    }
  });
}

}  // namespace wavefield
#endif
