#include <omp.h>

#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/field_chunk.h"
#include "core/backend/cpu/parallel.h"
#include "core/backend/cpu/serial_gemm.h"
#include "core/backend/field_outer_direct.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/field_outer_forward.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/field_rows-inl.h"
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// scores [count, kFieldChunk]: q_j · k_i become their share in y_j, Γ cos(ω(j − i) + φ) q_j · k_i.
void WeighPairs(const FieldAngles& angles, const FieldDecays& decays, int64_t count, float* row,
                float* scores) {
  std::fill_n(row, count, 0.0f);
  for (int64_t j = 0; j < count; ++j, scores += kFieldChunk) {
    AdvanceDecayRow(decays.step[j], j, row);
    const float* cosines = angles.pair_cos + kFieldChunk - 1 - j;
    ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto weight = hn::Mul(hn::LoadU(d, row + i), hn::LoadU(d, cosines + i));
      hn::StoreU(hn::Mul(weight, hn::LoadU(d, scores + i)), d, scores + i);
    });
  }
}

// One token: S = e^{−λ+iω} S + k vᵀ, y = Re(e^{iφ} qᵀ S).
void FieldStep(const FieldHead& head, const FieldDecays& decays, float* state, float* y) {
  const int64_t d = head.head_width;
  const float* k = head.q + head.width;
  const float* v = k + head.width;
  const float c = decays.step[0] * head.angles->turn_cos[1];
  const float s = decays.step[0] * head.angles->turn_sin[1];
  std::fill_n(y, d, 0.0f);
  for (int64_t row = 0; row < d; ++row) {
    float* real = state + row * d;
    float* imaginary = real + d * d;
    const float read_real = head.q[row] * head.angles->wave_cos[0];
    const float read_imaginary = -head.q[row] * head.angles->wave_sin[0];
    ForEachVector(d, [&](auto tag, int64_t i) HWY_ATTR {
      const auto re = hn::LoadU(tag, real + i), im = hn::LoadU(tag, imaginary + i);
      const auto cosine = hn::Set(tag, c), sine = hn::Set(tag, s);
      const auto deposit = hn::Mul(hn::Set(tag, k[row]), hn::LoadU(tag, v + i));
      const auto new_re = hn::MulAdd(cosine, re, hn::NegMulAdd(sine, im, deposit));
      const auto new_im = hn::MulAdd(sine, re, hn::Mul(cosine, im));
      hn::StoreU(new_re, tag, real + i);
      hn::StoreU(new_im, tag, imaginary + i);
      const auto sum = hn::MulAdd(hn::Set(tag, read_real), new_re, hn::LoadU(tag, y + i));
      hn::StoreU(hn::MulAdd(hn::Set(tag, read_imaginary), new_im, sum), tag, y + i);
    });
  }
}

// state [2, d, d] or null; room: ForwardRoom(d) floats; token t of y at y + t · D.
void FieldForwardHead(const FieldHead& head, float* state, float* room, float* y) {
  const int64_t d = head.head_width, stride = head.stride();
  FieldDecays decays;
  if (head.tokens == 1 && state != nullptr) {
    FillFieldDecays(head.damping, head.damping_stride, 1, decays);
    FieldStep(head, decays, state, y);
    return;
  }
  float* q = room;
  float* k = q + kFieldChunk * d;
  float* v = k + kFieldChunk * d;
  float* scores = v + kFieldChunk * d;
  float* rows = scores + kFieldChunk * kFieldChunk;
  float* decay_row = rows + kFieldChunk * 2 * d;
  float* field = state != nullptr ? state : decay_row + kFieldChunk;
  const FieldAngles& angles = *head.angles;
  bool live = state != nullptr;  // the field may be other than 0
  for (int64_t start = 0; start < head.tokens; start += kFieldChunk) {
    const int64_t count = std::min(kFieldChunk, head.tokens - start);
    const float* qkv = head.q + start * stride;
    float* out = y + start * head.width;
    CopyRows(qkv, stride, count, d, q, d);
    CopyRows(qkv + head.width, stride, count, d, k, d);
    CopyRows(qkv + 2 * head.width, stride, count, d, v, d);
    FillFieldDecays(head.damping + start * head.damping_stride, head.damping_stride, count, decays);
    SerialGemm('N', 'T', count, count, d, q, d, k, d, 0.0f, scores, kFieldChunk);
    WeighPairs(angles, decays, count, decay_row, scores);
    SerialGemm('N', 'N', count, d, count, scores, kFieldChunk, v, d, 0.0f, out, head.width);
    if (live) {
      ReadRows(angles, decays, count, d, q, rows);
      SerialGemm('N', 'N', count, d, 2 * d, rows, 2 * d, field, d, 1.0f, out, head.width);
    }
    if (state == nullptr && start + count == head.tokens) break;
    FeedRows(angles, decays, count, d, k, rows);
    if (live) {
      Rotate(decays.whole, angles.turn_cos[count], angles.turn_sin[count], d * d, field, field);
    }
    SerialGemm('T', 'N', 2 * d, d, count, rows, 2 * d, v, d, live ? 1.0f : 0.0f, field, d);
    live = true;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(FieldForwardHead);

namespace {

int64_t ForwardRoom(int64_t d) { return kFieldChunk * (kFieldChunk + 5 * d + 1) + 2 * d * d; }

}  // namespace

void CpuBackend::FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                   Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  const auto size =
      contract::FieldOuterForward(way, batch, qkv, damping, frequency, phase, state, y);
  const int64_t heads = size.heads, width = size.width(), tokens = size.tokens;
  const int64_t items = size.batch * heads;
  if (way == Propagation::kDirect) {
    ParallelRanges(threads_, items, 1, [&](int, int64_t first, int64_t last) {
      for (int64_t item = first; item < last; ++item) {
        DirectOuterForward(size, item, qkv, damping, frequency, phase, state, y);
      }
    });
    return;
  }
  const int64_t room_floats = ForwardRoom(size.head_width);
  constexpr int64_t kAngleFloats = (sizeof(FieldAngles) + sizeof(float) - 1) / sizeof(float);
  float* room = Scratch(threads_ * room_floats + heads * kAngleFloats);
  auto* angles = reinterpret_cast<FieldAngles*>(room + threads_ * room_floats);
  for (int64_t h = 0; h < heads; ++h) {
    FillFieldAngles(frequency.f32()[h], phase.f32()[h], tokens, angles[h]);
  }
  const int64_t grain = tokens == 1 ? 16 : 1;
  ParallelRanges(threads_, items, grain, [&](int thread, int64_t first, int64_t last) {
    omp_set_num_threads(1);
    for (int64_t item = first; item < last; ++item) {
      const int64_t row = item / heads * tokens, h = item % heads, column = h * size.head_width;
      const FieldHead head{qkv.f32() + row * 3 * width + column,
                           damping.f32() + row * size.damping_stride() + h,
                           tokens,
                           width,
                           size.damping_stride(),
                           size.head_width,
                           angles + h};
      HWY_DYNAMIC_DISPATCH(FieldForwardHead)
      (head, state.empty() ? nullptr : state.f32() + item * 2 * size.head_width * size.head_width,
       room + thread * room_floats, y.f32() + row * width + column);
    }
  });
}

}  // namespace wavefield
#endif
