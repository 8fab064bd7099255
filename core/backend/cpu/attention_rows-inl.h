// Rows of attention scores. Compiled once per instruction set, like vector_math-inl.h.
#if defined(WAVEFIELD_CORE_BACKEND_CPU_ATTENTION_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAVEFIELD_CORE_BACKEND_CPU_ATTENTION_ROWS_INL_H_
#undef WAVEFIELD_CORE_BACKEND_CPU_ATTENTION_ROWS_INL_H_
#else
#define WAVEFIELD_CORE_BACKEND_CPU_ATTENTION_ROWS_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "core/backend/cpu/attention_blocks.h"
#include "core/backend/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// e^x for x ≤ 80, within 2 ulp. 0 below −80: next to the weight of the largest score, which is 1,
// that is nothing, and denormal numbers would be slow. A NaN stays.
template <class D, class V>
HWY_INLINE V ExpOfScore(D d, V x) {
  const hn::RebindToSigned<D> whole;
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(whole, n), hn::Set(whole, 127)));
  const V value = hn::Mul(p, hn::BitCast(d, exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -80.0f)), value);
}

// The largest of row[0 … count), a multiple of kAttentionPad. A NaN may be overlooked.
inline float LargestScore(const float* row, int64_t count) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::LoadU(d, row), b = a;
  for (int64_t i = 0; i < count; i += 2 * lanes) {
    a = hn::Max(a, hn::LoadU(d, row + i));
    b = hn::Max(b, hn::LoadU(d, row + i + lanes));
  }
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(a, b)));
}

// Of a row of `keys` scores the first `seen` count. Returns them rounded up to whole vectors; the
// scores between become −∞.
inline int64_t MaskRow(int64_t seen, int64_t keys, float* row) {
  const int64_t padded = std::min(WholeVectors(seen), keys);
  std::fill(row + seen, row + padded, -std::numeric_limits<float>::infinity());
  return padded;
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#endif
