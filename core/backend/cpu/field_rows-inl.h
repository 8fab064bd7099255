// The rows that read the field's state at a chunk's start and that feed it at the chunk's end.
// Compiled once per instruction set, like vector_math-inl.h.
#if defined(WAVEFIELD_CORE_BACKEND_CPU_FIELD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAVEFIELD_CORE_BACKEND_CPU_FIELD_ROWS_INL_H_
#undef WAVEFIELD_CORE_BACKEND_CPU_FIELD_ROWS_INL_H_
#else
#define WAVEFIELD_CORE_BACKEND_CPU_FIELD_ROWS_INL_H_
#endif

#include "core/backend/cpu/field_chunk.h"
#include "core/backend/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// to = [a · from | b · from], a row of 2d.
HWY_INLINE void SplitRow(const float* from, int64_t head_width, float a, float b, float* to) {
  ForEachVector(head_width, [&](auto d, int64_t i) HWY_ATTR {
    const auto value = hn::LoadU(d, from + i);
    hn::StoreU(hn::Mul(value, hn::Set(d, a)), d, to + i);
    hn::StoreU(hn::Mul(value, hn::Set(d, b)), d, to + head_width + i);
  });
}

// Row j: what q_j reads of [S_re; S_im] as of the token before the chunk. q [count, d]; rows
// [count, 2d].
inline void ReadRows(const FieldAngles& angles, const FieldDecays& decays, int64_t count,
                     int64_t head_width, const float* q, float* rows) {
  for (int64_t j = 0; j < count; ++j) {
    const float decay = decays.from_start[j];
    SplitRow(q + j * head_width, head_width, decay * angles.wave_cos[j + 1],
             -decay * angles.wave_sin[j + 1], rows + j * 2 * head_width);
  }
}

// Row i: what v_i is multiplied with to enter [S_re; S_im] as of the last token. k [count, d]; rows
// [count, 2d].
inline void FeedRows(const FieldAngles& angles, const FieldDecays& decays, int64_t count,
                     int64_t head_width, const float* k, float* rows) {
  for (int64_t i = 0; i < count; ++i) {
    const float decay = decays.to_end[i];
    SplitRow(k + i * head_width, head_width, decay * angles.turn_cos[count - 1 - i],
             decay * angles.turn_sin[count - 1 - i], rows + i * 2 * head_width);
  }
}

// to = decay · e^{iβ} · from for complex matrices of `elements`, real part first; to may be from.
inline void Rotate(float decay, float cosine, float sine, int64_t elements, const float* from,
                   float* to) {
  ForEachVector(elements, [&](auto d, int64_t i) HWY_ATTR {
    const auto re = hn::LoadU(d, from + i), im = hn::LoadU(d, from + elements + i);
    const auto c = hn::Set(d, decay * cosine), s = hn::Set(d, decay * sine);
    hn::StoreU(hn::MulSub(c, re, hn::Mul(s, im)), d, to + i);
    hn::StoreU(hn::MulAdd(s, re, hn::Mul(c, im)), d, to + elements + i);
  });
}

// decays[i] for i < j become Γ(j, i), decays[j] = 1, given those of j − 1.
HWY_INLINE void AdvanceDecayRow(float step, int64_t j, float* decays) {
  ForEachVector(j, [&](auto d, int64_t i) HWY_ATTR {
    const auto decay = hn::Mul(hn::LoadU(d, decays + i), hn::Set(d, step));
    // Written so that a NaN stays.
    const auto tiny = hn::Lt(decay, hn::Set(d, kSmallestDecay));
    hn::StoreU(hn::IfThenElse(tiny, hn::Zero(d), decay), d, decays + i);
  });
  decays[j] = 1.0f;
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#endif
