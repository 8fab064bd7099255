// What both directions of the elementwise field do to a state. Compiled once per instruction set,
// like vector_math-inl.h.
#if defined(WAVEFIELD_CORE_BACKEND_CPU_FIELD_ELEMENTWISE_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAVEFIELD_CORE_BACKEND_CPU_FIELD_ELEMENTWISE_TILE_INL_H_
#undef WAVEFIELD_CORE_BACKEND_CPU_FIELD_ELEMENTWISE_TILE_INL_H_
#else
#define WAVEFIELD_CORE_BACKEND_CPU_FIELD_ELEMENTWISE_TILE_INL_H_
#endif

#include <algorithm>

#include "core/backend/cpu/field_elementwise.h"
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// Rows of a tile lie whole pages apart, where the hardware does not look ahead by itself.
inline constexpr int64_t kRowsAhead = 6;
HWY_INLINE void FetchAhead(const float* row, int64_t stride) {
  hwy::Prefetch(row + kRowsAhead * stride);
}

template <class D>
struct ComplexVec {
  hn::Vec<D> re, im;
};

// x, or 0 where it is too small to matter; a NaN stays.
template <class D>
HWY_INLINE hn::Vec<D> Flush(D d, hn::Vec<D> x) {
  return hn::IfThenZeroElse(hn::Lt(hn::Abs(x), hn::Set(d, kSmallestField)), x);
}

// (re + i im) · z.
template <class D>
HWY_INLINE ComplexVec<D> TimesPole(D d, float re, float im, const ComplexVec<D>& z) {
  const auto c = hn::Set(d, re), s = hn::Set(d, im);
  return {hn::NegMulAdd(s, z.im, hn::Mul(c, z.re)), hn::MulAdd(s, z.re, hn::Mul(c, z.im))};
}

// (re + i im) · z + u for a real u.
template <class D>
HWY_INLINE ComplexVec<D> Step(D d, float re, float im, const ComplexVec<D>& z, hn::Vec<D> u) {
  const auto c = hn::Set(d, re), s = hn::Set(d, im);
  return {Flush(d, hn::NegMulAdd(s, z.im, hn::MulAdd(c, z.re, u))),
          Flush(d, hn::MulAdd(s, z.re, hn::Mul(c, z.im)))};
}

template <class D>
HWY_INLINE ComplexVec<D> LoadState(D d, const float* state, int64_t head_width, int64_t i) {
  return {hn::LoadU(d, state + i), hn::LoadU(d, state + head_width + i)};
}

template <class D>
HWY_INLINE void StoreState(D d, const ComplexVec<D>& z, int64_t head_width, int64_t i,
                           float* state) {
  hn::StoreU(z.re, d, state + i);
  hn::StoreU(z.im, d, state + head_width + i);
}

// to += passage · from, or conj(passage) · from, for each head.
inline void Pass(const float* passages, bool conjugate, int64_t heads, int64_t head_width,
                 const float* from, float* to) {
  for (int64_t h = 0; h < heads; ++h, from += 2 * head_width, to += 2 * head_width) {
    const float re = passages[2 * h];
    const float im = conjugate ? -passages[2 * h + 1] : passages[2 * h + 1];
    ForEachVector(head_width, [&](auto d, int64_t i) HWY_ATTR {
      const auto moved = TimesPole(d, re, im, LoadState(d, from, head_width, i));
      const auto own = LoadState(d, to, head_width, i);
      StoreState<decltype(d)>(
          d, {Flush(d, hn::Add(own.re, moved.re)), Flush(d, hn::Add(own.im, moved.im))}, head_width,
          i, to);
    });
  }
}

// The tile's own part of the state after it.
inline void FeedState(const FieldTile& tile, float* state) {
  const int64_t d = tile.head_width;
  std::fill_n(state, tile.heads * 2 * d, 0.0f);
  for (int64_t t = 0; t < tile.count; ++t) {
    for (int64_t h = 0; h < tile.heads; ++h) {
      const float* k = tile.k + t * tile.stride() + h * d;
      const float* v = k + tile.width;
      const FieldPoles& poles = tile.poles[h];
      float* z = state + h * 2 * d;
      ForEachVector(d, [&](auto tag, int64_t i) HWY_ATTR {
        FetchAhead(k + i, tile.stride());
        FetchAhead(v + i, tile.stride());
        const auto deposit = hn::Mul(hn::LoadU(tag, k + i), hn::LoadU(tag, v + i));
        StoreState(tag,
                   Step(tag, poles.step_re[t], poles.step_im[t], LoadState(tag, z, d, i), deposit),
                   d, i, z);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#endif
