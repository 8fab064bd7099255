#include <algorithm>
#include <cstring>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/field_elementwise.h"
#include "core/backend/cpu/field_fft.h"
#include "core/backend/cpu/parallel.h"
#include "core/backend/field_elementwise_direct.h"
#include "core/backend/wave_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/field_elementwise_backward.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/field_elementwise_tile-inl.h"
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// The gradient with respect to z, a complex number ∂/∂Re z + i ∂/∂Im z, runs backward:
// ζ_t = conj(step_{t+1}) ζ_{t+1} + e^{−iφ} dfield_t.
template <class D>
HWY_INLINE ComplexVec<D> AddFieldGradient(D d, const FieldPoles& poles, hn::Vec<D> dfield,
                                          const ComplexVec<D>& zeta) {
  return {Flush(d, hn::MulAdd(hn::Set(d, poles.phase_re), dfield, zeta.re)),
          Flush(d, hn::NegMulAdd(hn::Set(d, poles.phase_im), dfield, zeta.im))};
}

// term(tag, i, first, second) adds to two sums; their totals, in an order that depends on n alone.
struct SumPair {
  float first, second;
};
template <class Term>
HWY_INLINE SumPair SumPairOver(int64_t n, const Term& term) {
  const FloatTag d;
  const SingleTag single;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto first = hn::Zero(d), second = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) term(d, i, first, second);
  auto first_rest = hn::Zero(single), second_rest = hn::Zero(single);
  for (; i < n; ++i) term(single, i, first_rest, second_rest);
  return {hn::GetLane(hn::SumOfLanes(d, first)) + hn::GetLane(first_rest),
          hn::GetLane(hn::SumOfLanes(d, second)) + hn::GetLane(second_rest)};
}

// The tile's own part of the gradient with respect to the state before it.
void FeedGradientTile(const FieldTile& tile, const float* dfield, float* gradient) {
  const int64_t d = tile.head_width;
  std::fill_n(gradient, tile.heads * 2 * d, 0.0f);
  for (int64_t t = tile.count - 1; t >= 0; --t) {
    for (int64_t h = 0; h < tile.heads; ++h) {
      const FieldPoles& poles = tile.poles[h];
      const float* g = dfield + t * tile.width + h * d;
      float* zeta = gradient + h * 2 * d;
      ForEachVector(d, [&](auto tag, int64_t i) HWY_ATTR {
        FetchAhead(g + i, -tile.width);
        const auto here =
            AddFieldGradient(tag, poles, hn::LoadU(tag, g + i), LoadState(tag, zeta, d, i));
        StoreState(tag, TimesPole(tag, poles.step_re[t], -poles.step_im[t], here), d, i, zeta);
      });
    }
  }
}

void FeedStateTile(const FieldTile& tile, float* state) { FeedState(tile, state); }

void PassState(const float* passages, bool conjugate, int64_t heads, int64_t head_width,
               const float* from, float* to) {
  Pass(passages, conjugate, heads, head_width, from, to);
}

// states [count + 1, heads, 2, d]: the first is that before the tile, the others are filled. Adds
// to the phase's gradient: ∂ field_t / ∂φ = −Im(e^{iφ} z_t).
void RecomputeStates(const FieldTile& tile, const float* dfield, float* states, WaveSums* sums) {
  const int64_t d = tile.head_width, state_floats = tile.heads * 2 * d;
  for (int64_t t = 0; t < tile.count; ++t, states += state_floats) {
    for (int64_t h = 0; h < tile.heads; ++h) {
      const float* k = tile.k + t * tile.stride() + h * d;
      const float* v = k + tile.width;
      const float* g = dfield + t * tile.width + h * d;
      const FieldPoles& poles = tile.poles[h];
      const float* from = states + h * 2 * d;
      float* to = states + state_floats + h * 2 * d;
      sums[h].phi -= SumOver(d, [&](auto tag, int64_t i) HWY_ATTR {
        FetchAhead(k + i, tile.stride());
        FetchAhead(v + i, tile.stride());
        FetchAhead(g + i, tile.width);
        const auto deposit = hn::Mul(hn::LoadU(tag, k + i), hn::LoadU(tag, v + i));
        const auto now =
            Step(tag, poles.step_re[t], poles.step_im[t], LoadState(tag, from, d, i), deposit);
        StoreState(tag, now, d, i, to);
        const auto quadrature = hn::MulAdd(hn::Set(tag, poles.phase_im), now.re,
                                           hn::Mul(hn::Set(tag, poles.phase_re), now.im));
        return hn::Mul(hn::LoadU(tag, g + i), quadrature);
      });
    }
  }
}

// zeta [heads, 2, d]: on entry the gradient with respect to the state after the tile. dk: as
// tile.k. ddamping: of the first token and head, `heads` apart from token to token; null if it is
// static.
void FieldGradientTile(const FieldTile& tile, const float* dfield, float* states, float* zeta,
                       float* dk, float* ddamping, int64_t damping_stride, WaveSums* sums) {
  const int64_t d = tile.head_width, state_floats = tile.heads * 2 * d;
  RecomputeStates(tile, dfield, states, sums);
  for (int64_t t = tile.count - 1; t >= 0; --t) {
    for (int64_t h = 0; h < tile.heads; ++h) {
      const FieldPoles& poles = tile.poles[h];
      const float step_re = poles.step_re[t], step_im = -poles.step_im[t];
      const float* k = tile.k + t * tile.stride() + h * d;
      const float* v = k + tile.width;
      const float* g = dfield + t * tile.width + h * d;
      const float* before = states + t * state_floats + h * 2 * d;
      float* dk_row = dk + t * tile.stride() + h * d;
      float* dv_row = dk_row + tile.width;
      float* gradient = zeta + h * 2 * d;
      const SumPair pull =
          SumPairOver(d, [&](auto tag, int64_t i, auto& real, auto& imaginary) HWY_ATTR {
            FetchAhead(dk_row + i, -tile.stride());
            FetchAhead(dv_row + i, -tile.stride());
            const auto here =
                AddFieldGradient(tag, poles, hn::LoadU(tag, g + i), LoadState(tag, gradient, d, i));
            hn::StoreU(hn::Mul(here.re, hn::LoadU(tag, v + i)), tag, dk_row + i);
            hn::StoreU(hn::Mul(here.re, hn::LoadU(tag, k + i)), tag, dv_row + i);
            const auto there = TimesPole(tag, step_re, step_im, here);
            StoreState(tag, there, d, i, gradient);
            // conj(there) · z_{t−1}: what the step multiplies, seen by the loss.
            const auto z = LoadState(tag, before, d, i);
            real = hn::MulAdd(there.re, z.re, hn::MulAdd(there.im, z.im, real));
            imaginary = hn::MulAdd(there.re, z.im, hn::NegMulAdd(there.im, z.re, imaginary));
          });
      sums[h].omega -= pull.second;
      sums[h].damping -= pull.first;
      if (ddamping != nullptr) ddamping[t * damping_stride + h] = -pull.first;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(FeedGradientTile);
HWY_EXPORT(FeedStateTile);
HWY_EXPORT(PassState);
HWY_EXPORT(FieldGradientTile);

namespace {

enum Chain { kStates, kGradients };

// Copies [H, 2, d] per sequence between `tensor` and the states before chunk `chunk`; an empty
// tensor is 0.
void LoadChain(const FieldTiling& tiling, Chain chain, int64_t chunk, int64_t batch, int64_t floats,
               const Tensor& tensor) {
  for (int64_t b = 0; b < batch; ++b) {
    float* to = tiling.State(chain, FieldTiling::Place{b, 0, 0}, chunk);
    if (tensor.empty()) {
      std::fill_n(to, floats, 0.0f);
    } else {
      std::memcpy(to, tensor.f32() + b * floats, floats * sizeof(float));
    }
  }
}

}  // namespace

void CpuBackend::FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv,
                                          Tensor damping, Tensor frequency, Tensor phase,
                                          Tensor state, Tensor dfield, Tensor dstate, Tensor dqkv,
                                          Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const auto size =
      contract::FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, state, dfield,
                                         dstate, dqkv, ddamping, dfrequency, dphase);
  if (way == Propagation::kDirect) {
    FieldElementwiseDirectBackward(size, qkv, damping, frequency, phase, state, dfield, dstate,
                                   dqkv, ddamping, dfrequency, dphase);
    return;
  }
  if (way == Propagation::kFft && size.tokens > 0) {
    FieldFftBackward(size, qkv, damping, frequency, phase, dfield, threads_, fft_plans_,
                     Scratch(FieldFftBackwardRoom(size, threads_)), dqkv, ddamping, dfrequency,
                     dphase);
    return;
  }
  using Place = FieldTiling::Place;
  const int64_t width = size.width(), group = FieldTiling::GroupOf(size);
  const int64_t state_floats = 2 * group * size.head_width;
  const int64_t thread_floats = (kElementwiseChunk + 2) * state_floats;
  const int64_t all_sums = FieldTiling::Tiles(size) * group, sequence_sums = batch * size.heads;
  constexpr int64_t kSumFloats = sizeof(WaveSums) / sizeof(float);
  float* room = Scratch((all_sums + sequence_sums) * kSumFloats + threads_ * thread_floats +
                        FieldTiling::Room(size, threads_, 2));
  auto* sums = reinterpret_cast<WaveSums*>(room);
  WaveSums* totals = sums + all_sums;
  std::fill_n(sums, all_sums + sequence_sums, WaveSums{});
  room += (all_sums + sequence_sums) * kSumFloats;
  const FieldTiling tiling(size, 2, qkv, damping, frequency, phase,
                           room + threads_ * thread_floats);
  const int64_t chunks = tiling.chunks();
  LoadChain(tiling, kStates, 0, batch, 2 * width, state);
  LoadChain(tiling, kGradients, chunks, batch, 2 * width, dstate);
  const int64_t first_gradient = dstate.empty() ? 1 : 0;
  const auto rows = [&](const Tensor& x, const Place& place) {
    return x.f32() + tiling.FirstRow(place) * width + tiling.FirstChannel(place);
  };

  ParallelRanges(threads_, tiling.tiles(), 1, [&](int thread, int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      const Place place = tiling.PlaceOf(index);
      const FieldTile tile = tiling.Tile(place, thread);
      if (place.chunk + 1 < chunks) {
        HWY_DYNAMIC_DISPATCH(FeedStateTile)(tile, tiling.State(kStates, place, place.chunk + 1));
      }
      if (place.chunk >= first_gradient) {
        HWY_DYNAMIC_DISPATCH(FeedGradientTile)
        (tile, rows(dfield, place), tiling.State(kGradients, place, place.chunk));
      }
    }
  });

  for (int64_t track = 0; track < tiling.tracks(); ++track) {
    const auto pass = [&](Chain chain, int64_t chunk, int64_t from, int64_t to) {
      const Place place = tiling.PlaceOf(track, chunk);
      HWY_DYNAMIC_DISPATCH(PassState)
      (tiling.Passages(place), chain == kGradients, tiling.Heads(place), size.head_width,
       tiling.State(chain, place, from), tiling.State(chain, place, to));
    };
    for (int64_t chunk = 0; chunk + 1 < chunks; ++chunk) pass(kStates, chunk, chunk, chunk + 1);
    for (int64_t chunk = chunks - 1; chunk >= first_gradient; --chunk) {
      pass(kGradients, chunk, chunk + 1, chunk);
    }
  }
  for (int64_t b = 0; b < batch && !dstate.empty(); ++b) {
    std::memcpy(dstate.f32() + b * 2 * width, tiling.State(kGradients, Place{b, 0, 0}, 0),
                2 * width * sizeof(float));
  }

  ParallelRanges(threads_, tiling.tiles(), 1, [&](int thread, int64_t first, int64_t last) {
    float* zeta = room + thread * thread_floats;
    float* states = zeta + state_floats;
    for (int64_t index = first; index < last; ++index) {
      const Place place = tiling.PlaceOf(index);
      const FieldTile tile = tiling.Tile(place, thread);
      const int64_t floats = 2 * tile.heads * size.head_width;
      std::memcpy(states, tiling.State(kStates, place, place.chunk), floats * sizeof(float));
      std::memcpy(zeta, tiling.State(kGradients, place, place.chunk + 1), floats * sizeof(float));
      float* slopes = size.static_damping ? nullptr
                                          : ddamping.f32() + tiling.FirstRow(place) * size.heads +
                                                tiling.FirstHead(place);
      HWY_DYNAMIC_DISPATCH(FieldGradientTile)
      (tile, rows(dfield, place), states, zeta, dqkv.f32() + (tile.k - qkv.f32()), slopes,
       size.heads, sums + index * group);
    }
  });
  for (int64_t index = 0; index < tiling.tiles(); ++index) {
    const Place place = tiling.PlaceOf(index);
    for (int64_t h = 0; h < tiling.Heads(place); ++h) {
      WaveSums& total = totals[place.sequence * size.heads + tiling.FirstHead(place) + h];
      const WaveSums& part = sums[index * group + h];
      total.omega += part.omega;
      total.phi += part.phi;
      total.damping += part.damping;
    }
  }
  ReduceWaveSums(size, totals, ddamping, dfrequency, dphase);
}

}  // namespace wavefield
#endif
