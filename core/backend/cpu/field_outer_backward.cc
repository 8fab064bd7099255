#include <omp.h>

#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/field_chunk.h"
#include "core/backend/cpu/parallel.h"
#include "core/backend/cpu/serial_gemm.h"
#include "core/backend/field_outer_direct.h"
#include "core/backend/wave_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/field_outer_backward.cc"
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

// Gradients of one chunk with respect to Λ_j (sums of damping inside the chunk), ω and φ.
struct WaveGradients {
  double decay[kFieldChunk];
  double omega = 0.0, phi = 0.0;
};

// Inside the chunk, [count, kFieldChunk] each. scores: q_j · k_i become their share in y_j.
// dscores: the gradient of that share becomes that of q_j · k_i. room: 3 · kFieldChunk.
void PairGradients(const FieldAngles& angles, const FieldDecays& decays, int64_t count,
                   float* scores, float* dscores, float* room, WaveGradients& gradients) {
  float* decay_row = room;
  float* decay_sums = decay_row + kFieldChunk;  // Σ over j of ∂ loss / ∂ log Γ(j, i), per i
  float* angle_row = decay_sums + kFieldChunk;  // −∂ loss / ∂ angle, of one j
  std::fill_n(decay_row, 2 * kFieldChunk, 0.0f);
  for (int64_t j = 0; j < count; ++j, scores += kFieldChunk, dscores += kFieldChunk) {
    AdvanceDecayRow(decays.step[j], j, decay_row);
    const int64_t shift = kFieldChunk - 1 - j;
    const float* distances = angles.pair_distance + shift;
    const float by_decay = SumOver(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto decay = hn::LoadU(d, decay_row + i);
      const auto weight = hn::Mul(decay, hn::LoadU(d, angles.pair_cos + shift + i));
      const auto slope = hn::Mul(decay, hn::LoadU(d, angles.pair_sin + shift + i));
      const auto score = hn::LoadU(d, scores + i), gradient = hn::LoadU(d, dscores + i);
      const auto share = hn::Mul(score, weight);
      // Γ(j, j) = 1 whatever the damping; leaving it out here spares a cancellation.
      const auto apart = hn::Gt(hn::LoadU(d, distances + i), hn::Zero(d));
      const auto by_log = hn::IfThenElseZero(apart, hn::Mul(share, gradient));
      hn::StoreU(share, d, scores + i);
      hn::StoreU(hn::Mul(gradient, weight), d, dscores + i);
      hn::StoreU(hn::Add(hn::LoadU(d, decay_sums + i), by_log), d, decay_sums + i);
      hn::StoreU(hn::Mul(hn::Mul(score, slope), gradient), d, angle_row + i);
      return by_log;
    });
    gradients.decay[j] -= by_decay;
    gradients.phi -=
        SumOver(count, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, angle_row + i); });
    gradients.omega -= SumOver(count, [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::LoadU(d, angle_row + i), hn::LoadU(d, distances + i));
    });
  }
  for (int64_t i = 0; i < count; ++i) gradients.decay[i] += decay_sums[i];
}

// The pair (Σ x · [first], Σ x · [second]) for a gradient row [first | second] of 2d, and
// to += a · first + b · second.
struct RowDots {
  float first, second;
};
HWY_INLINE RowDots SplitRowGradient(const float* x, const float* gradient, int64_t head_width,
                                    float a, float b, float* to) {
  const float* second = gradient + head_width;
  ForEachVector(head_width, [&](auto d, int64_t i) HWY_ATTR {
    const auto sum = hn::MulAdd(hn::Set(d, a), hn::LoadU(d, gradient + i), hn::LoadU(d, to + i));
    hn::StoreU(hn::MulAdd(hn::Set(d, b), hn::LoadU(d, second + i), sum), d, to + i);
  });
  return {SumOver(head_width,
                  [&](auto d, int64_t i) HWY_ATTR {
                    return hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, gradient + i));
                  }),
          SumOver(head_width, [&](auto d, int64_t i) HWY_ATTR {
            return hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, second + i));
          })};
}

// From drows, the gradient of ReadRows' rows: dq [count, d] += and the waves'.
void ReadRowsGradient(const FieldAngles& angles, const FieldDecays& decays, int64_t count,
                      int64_t head_width, const float* q, const float* drows, float* dq,
                      WaveGradients& gradients) {
  for (int64_t j = 0; j < count; ++j) {
    const int64_t at = j * head_width;
    const float cosine = decays.from_start[j] * angles.wave_cos[j + 1];
    const float sine = decays.from_start[j] * angles.wave_sin[j + 1];
    const RowDots dots =
        SplitRowGradient(q + at, drows + 2 * at, head_width, cosine, -sine, dq + at);
    const double by_angle =
        -static_cast<double>(sine) * dots.first - static_cast<double>(cosine) * dots.second;
    gradients.decay[j] -=
        static_cast<double>(cosine) * dots.first - static_cast<double>(sine) * dots.second;
    gradients.phi += by_angle;
    gradients.omega += static_cast<double>(j + 1) * by_angle;
  }
}

// The same for FeedRows: dk [count, d] += and the waves'.
void FeedRowsGradient(const FieldAngles& angles, const FieldDecays& decays, int64_t count,
                      int64_t head_width, const float* k, const float* drows, float* dk,
                      WaveGradients& gradients) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = i * head_width, left = count - 1 - i;
    const float cosine = decays.to_end[i] * angles.turn_cos[left];
    const float sine = decays.to_end[i] * angles.turn_sin[left];
    const RowDots dots =
        SplitRowGradient(k + at, drows + 2 * at, head_width, cosine, sine, dk + at);
    const double by_decay =
        static_cast<double>(cosine) * dots.first + static_cast<double>(sine) * dots.second;
    gradients.decay[i] += by_decay;
    gradients.decay[count - 1] -= by_decay;
    gradients.omega += static_cast<double>(left) * (static_cast<double>(cosine) * dots.second -
                                                    static_cast<double>(sine) * dots.first);
  }
}

// The state's passage through a chunk, S ↦ g e^{iβ} S, backward: dfield in place.
void PassageGradient(const FieldHead& head, const FieldDecays& decays, int64_t count,
                     const float* field, float* dfield, WaveGradients& gradients) {
  const int64_t elements = head.head_width * head.head_width;
  const float* real = field;
  const float* imaginary = field + elements;
  const float* dreal = dfield;
  const float* dimaginary = dfield + elements;
  const double along = SumOver(elements, [&](auto d, int64_t i) HWY_ATTR {
    return hn::MulAdd(hn::LoadU(d, dreal + i), hn::LoadU(d, real + i),
                      hn::Mul(hn::LoadU(d, dimaginary + i), hn::LoadU(d, imaginary + i)));
  });
  const double across = SumOver(elements, [&](auto d, int64_t i) HWY_ATTR {
    return hn::MulSub(hn::LoadU(d, dimaginary + i), hn::LoadU(d, real + i),
                      hn::Mul(hn::LoadU(d, dreal + i), hn::LoadU(d, imaginary + i)));
  });
  const float cosine = head.angles->turn_cos[count], sine = head.angles->turn_sin[count];
  const double decay = decays.whole;
  gradients.decay[count - 1] -= decay * (cosine * along + sine * across);
  gradients.omega += static_cast<double>(count) * decay * (cosine * across - sine * along);
  Rotate(decays.whole, cosine, -sine, elements, dfield, dfield);
}

// Fields at the starts of all chunks, fields [chunks, 2, d, d]; that of the first is left alone
// without a `state` [2, d, d]. room: 4 · kFieldChunk · d.
void RecomputeFields(const FieldHead& head, const float* state, float* room, float* fields) {
  const int64_t d = head.head_width, stride = head.stride();
  float* k = room;
  float* v = k + kFieldChunk * d;
  float* rows = v + kFieldChunk * d;
  float* field = fields + 2 * d * d;
  bool live = state != nullptr;  // the field may be other than 0
  if (live) std::copy_n(state, 2 * d * d, fields);
  FieldDecays decays;
  for (int64_t start = 0; start + kFieldChunk < head.tokens; start += kFieldChunk) {
    const float* qkv = head.q + start * stride;
    CopyRows(qkv + head.width, stride, kFieldChunk, d, k, d);
    CopyRows(qkv + 2 * head.width, stride, kFieldChunk, d, v, d);
    FillFieldDecays(head.damping + start * head.damping_stride, head.damping_stride, kFieldChunk,
                    decays);
    FeedRows(*head.angles, decays, kFieldChunk, d, k, rows);
    if (live) {
      Rotate(decays.whole, head.angles->turn_cos[kFieldChunk], head.angles->turn_sin[kFieldChunk],
             d * d, field - 2 * d * d, field);
    }
    SerialGemm('T', 'N', 2 * d, d, kFieldChunk, rows, 2 * d, v, d, live ? 1.0f : 0.0f, field, d);
    field += 2 * d * d;
    live = true;
  }
}

// dy: token t at dy + t · D; dq, ddamping: laid out like head.q, head.damping, ddamping not written
// when static; state, dstate [2, d, d] or null; room: BackwardRoom floats.
void FieldBackwardHead(const FieldHead& head, const float* state, const float* dy, float* dstate,
                       float* room, float* dq, float* ddamping, WaveSums* sums) {
  const int64_t d = head.head_width, stride = head.stride(), width = head.width;
  const int64_t part = kFieldChunk * d, field_floats = 2 * d * d;
  float* in[3];   // q, k, v of the chunk
  float* out[3];  // their gradients
  for (int64_t i = 0; i < 3; ++i) {
    in[i] = room + i * part;
    out[i] = room + (3 + i) * part;
  }
  const float *q = in[0], *k = in[1], *v = in[2];
  float* gradient = room + 6 * part;
  float* rows = gradient + part;
  float* drows = rows + 2 * part;
  float* scores = drows + 2 * part;
  float* dscores = scores + kFieldChunk * kFieldChunk;
  float* pair_room = dscores + kFieldChunk * kFieldChunk;
  float* fields = pair_room + 3 * kFieldChunk;
  const int64_t last_chunk = (head.tokens - 1) / kFieldChunk;
  float* dfield = dstate != nullptr ? dstate : fields + (last_chunk + 1) * field_floats;
  RecomputeFields(head, state, room, fields);

  const FieldAngles& angles = *head.angles;
  *sums = {};
  bool heard = dstate != nullptr;  // dfield: gradient of the field after the chunk; else it is 0
  for (int64_t chunk = last_chunk; chunk >= 0; --chunk) {
    const int64_t start = chunk * kFieldChunk;
    const int64_t count = std::min(kFieldChunk, head.tokens - start);
    for (int64_t i = 0; i < 3; ++i) {
      CopyRows(head.q + start * stride + i * width, stride, count, d, in[i], d);
    }
    CopyRows(dy + start * width, width, count, d, gradient, d);
    FieldDecays decays;
    FillFieldDecays(head.damping + start * head.damping_stride, head.damping_stride, count, decays);
    WaveGradients gradients;
    std::fill_n(gradients.decay, count, 0.0);

    SerialGemm('N', 'T', count, count, d, q, d, k, d, 0.0f, scores, kFieldChunk);
    SerialGemm('N', 'T', count, count, d, gradient, d, v, d, 0.0f, dscores, kFieldChunk);
    PairGradients(angles, decays, count, scores, dscores, pair_room, gradients);
    SerialGemm('N', 'N', count, d, count, dscores, kFieldChunk, k, d, 0.0f, out[0], d);
    SerialGemm('T', 'N', count, d, count, dscores, kFieldChunk, q, d, 0.0f, out[1], d);
    SerialGemm('T', 'N', count, d, count, scores, kFieldChunk, gradient, d, 0.0f, out[2], d);

    if (heard) {
      FeedRows(angles, decays, count, d, k, rows);
      SerialGemm('N', 'N', count, d, 2 * d, rows, 2 * d, dfield, d, 1.0f, out[2], d);
      SerialGemm('N', 'T', count, 2 * d, d, v, d, dfield, d, 0.0f, drows, 2 * d);
      FeedRowsGradient(angles, decays, count, d, k, drows, out[1], gradients);
    }
    if (chunk > 0 || state != nullptr) {
      const float* field = fields + chunk * field_floats;
      if (heard) PassageGradient(head, decays, count, field, dfield, gradients);
      ReadRows(angles, decays, count, d, q, rows);
      SerialGemm('N', 'T', count, 2 * d, d, gradient, d, field, d, 0.0f, drows, 2 * d);
      ReadRowsGradient(angles, decays, count, d, q, drows, out[0], gradients);
      if (chunk > 0 || dstate != nullptr) {
        SerialGemm('T', 'N', 2 * d, d, count, rows, 2 * d, gradient, d, heard ? 1.0f : 0.0f, dfield,
                   d);
        heard = true;
      }
    }

    for (int64_t i = 0; i < 3; ++i) {
      CopyRows(out[i], d, count, d, dq + start * stride + i * width, stride);
    }
    double slope = 0.0;
    for (int64_t j = count - 1; j >= 0; --j) {
      slope += gradients.decay[j];
      sums->damping += slope;
      if (head.damping_stride > 0) {
        ddamping[(start + j) * head.damping_stride] = static_cast<float>(slope);
      }
    }
    sums->omega += gradients.omega;
    sums->phi += gradients.phi;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(FieldBackwardHead);

namespace {

int64_t BackwardRoom(int64_t d, int64_t tokens) {
  const int64_t chunks = (tokens + kFieldChunk - 1) / kFieldChunk;
  return kFieldChunk * (2 * kFieldChunk + 11 * d + 3) + (chunks + 1) * 2 * d * d;
}

}  // namespace

void CpuBackend::FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                    Tensor frequency, Tensor phase, Tensor state, Tensor dy,
                                    Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                    Tensor dphase) {
  const auto size = contract::FieldOuterBackward(way, batch, qkv, damping, frequency, phase, state,
                                                 dy, dstate, dqkv, ddamping, dfrequency, dphase);
  const int64_t heads = size.heads, width = size.width(), tokens = size.tokens;
  const int64_t items = size.batch * heads, room_floats = BackwardRoom(size.head_width, tokens);
  constexpr int64_t kAngleFloats = (sizeof(FieldAngles) + sizeof(float) - 1) / sizeof(float);
  constexpr int64_t kSumFloats = sizeof(WaveSums) / sizeof(float);
  float* room = Scratch(kSumFloats * items + threads_ * room_floats + heads * kAngleFloats);
  auto* sums = reinterpret_cast<WaveSums*>(room);
  float* rooms = room + kSumFloats * items;
  if (tokens == 0 || way == Propagation::kDirect) {  // without tokens: states pass unchanged
    ParallelRanges(threads_, items, 1, [&](int, int64_t first, int64_t last) {
      for (int64_t item = first; item < last; ++item) {
        sums[item] = DirectOuterBackward(size, item, qkv, damping, frequency, phase, state, dy,
                                         dstate, dqkv, ddamping);
      }
    });
    ReduceWaveSums(size, sums, ddamping, dfrequency, dphase);
    return;
  }
  auto* angles = reinterpret_cast<FieldAngles*>(rooms + threads_ * room_floats);
  for (int64_t h = 0; h < heads; ++h) {
    FillFieldAngles(frequency.f32()[h], phase.f32()[h], tokens, angles[h]);
  }
  ParallelRanges(threads_, items, 1, [&](int thread, int64_t first, int64_t last) {
    omp_set_num_threads(1);
    for (int64_t item = first; item < last; ++item) {
      const int64_t row = item / heads * tokens, h = item % heads, column = h * size.head_width;
      const int64_t at = row * 3 * width + column;
      const int64_t lambda = row * size.damping_stride() + h;
      const int64_t field = item * 2 * size.head_width * size.head_width;
      const FieldHead head{qkv.f32() + at,        damping.f32() + lambda, tokens,    width,
                           size.damping_stride(), size.head_width,        angles + h};
      HWY_DYNAMIC_DISPATCH(FieldBackwardHead)
      (head, state.empty() ? nullptr : state.f32() + field, dy.f32() + row * width + column,
       dstate.empty() ? nullptr : dstate.f32() + field, rooms + thread * room_floats,
       dqkv.f32() + at, ddamping.f32() + lambda, sums + item);
    }
  });
  ReduceWaveSums(size, sums, ddamping, dfrequency, dphase);
}

}  // namespace wavefield
#endif
