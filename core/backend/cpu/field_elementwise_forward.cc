#include <algorithm>
#include <cstring>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/field_elementwise.h"
#include "core/backend/cpu/field_fft.h"
#include "core/backend/cpu/parallel.h"
#include "core/backend/field_elementwise_direct.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/field_elementwise_forward.cc"
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

void FeedFieldState(const FieldTile& tile, float* state) { FeedState(tile, state); }

void PassFieldState(const float* passages, bool conjugate, int64_t heads, int64_t head_width,
                    const float* from, float* to) {
  Pass(passages, conjugate, heads, head_width, from, to);
}

// before: the state before the tile, or null for an empty one. own: the tile's own part of the
// state after it. field: of the first token and channel, rows tile.width apart.
void ReadFieldTile(const FieldTile& tile, const float* before, float* own, float* field) {
  const int64_t d = tile.head_width;
  std::fill_n(own, tile.heads * 2 * d, 0.0f);
  for (int64_t t = 0; t < tile.count; ++t) {
    for (int64_t h = 0; h < tile.heads; ++h) {
      const float* k = tile.k + t * tile.stride() + h * d;
      const float* v = k + tile.width;
      const FieldPoles& poles = tile.poles[h];
      const float step_re = poles.step_re[t], step_im = poles.step_im[t];
      const float read_re = poles.read_re[t], read_im = poles.read_im[t];
      const float* earlier = before == nullptr ? nullptr : before + h * 2 * d;
      float* z = own + h * 2 * d;
      float* out = field + t * tile.width + h * d;
      ForEachVector(d, [&](auto tag, int64_t i) HWY_ATTR {
        FetchAhead(k + i, tile.stride());
        FetchAhead(v + i, tile.stride());
        const auto deposit = hn::Mul(hn::LoadU(tag, k + i), hn::LoadU(tag, v + i));
        const auto now = Step(tag, step_re, step_im, LoadState(tag, z, d, i), deposit);
        StoreState(tag, now, d, i, z);
        auto sum = hn::NegMulAdd(hn::Set(tag, poles.phase_im), now.im,
                                 hn::Mul(hn::Set(tag, poles.phase_re), now.re));
        if (earlier != nullptr) {
          const auto past = LoadState(tag, earlier, d, i);
          sum = hn::MulAdd(hn::Set(tag, read_re), past.re, sum);
          sum = hn::NegMulAdd(hn::Set(tag, read_im), past.im, sum);
        }
        hn::StoreU(Flush(tag, sum), tag, out + i);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(FeedFieldState);
HWY_EXPORT(PassFieldState);
HWY_EXPORT(ReadFieldTile);

void CpuBackend::FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                         Tensor frequency, Tensor phase, Tensor state,
                                         Tensor field) {
  const auto size =
      contract::FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, state, field);
  if (size.tokens == 0) return;
  if (way == Propagation::kDirect) {
    FieldElementwiseDirectForward(size, qkv, damping, frequency, phase, state, field);
    return;
  }
  if (way == Propagation::kFft) {
    FieldFftForward(size, qkv, damping, frequency, phase, threads_, fft_plans_,
                    Scratch(FieldFftForwardRoom(size, threads_)), field);
    return;
  }
  const int64_t own_floats = 2 * FieldTiling::GroupOf(size) * size.head_width;
  float* room = Scratch(FieldTiling::Room(size, threads_, 1) + threads_ * own_floats);
  const FieldTiling tiling(size, 1, qkv, damping, frequency, phase, room + threads_ * own_floats);
  using Place = FieldTiling::Place;
  const int64_t chunks = tiling.chunks(), state_floats = 2 * size.width();
  for (int64_t b = 0; b < size.batch; ++b) {
    float* first = tiling.State(0, Place{b, 0, 0}, 0);
    if (state.empty()) {
      std::fill_n(first, state_floats, 0.0f);
    } else {
      std::memcpy(first, state.f32() + b * state_floats, state_floats * sizeof(float));
    }
  }
  const auto read = [&](const Place& place, const FieldTile& tile, float* own) {
    const bool empty = place.chunk == 0 && state.empty();
    HWY_DYNAMIC_DISPATCH(ReadFieldTile)
    (tile, empty ? nullptr : tiling.State(0, place, place.chunk), own,
     field.f32() + tiling.FirstRow(place) * size.width() + tiling.FirstChannel(place));
  };
  const auto pass = [&](const Place& place) {
    HWY_DYNAMIC_DISPATCH(PassFieldState)
    (tiling.Passages(place), false, tiling.Heads(place), size.head_width,
     tiling.State(0, place, place.chunk), tiling.State(0, place, place.chunk + 1));
  };
  const int64_t grain = size.tokens == 1 ? 16 : 1;
  if (tiling.tracks() >= threads_ || chunks == 1) {
    ParallelRanges(threads_, tiling.tracks(), grain, [&](int thread, int64_t first, int64_t last) {
      for (int64_t track = first; track < last; ++track) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          const Place place = tiling.PlaceOf(track, chunk);
          read(place, tiling.Tile(place, thread), tiling.State(0, place, chunk + 1));
          pass(place);
        }
      }
    });
  } else {
    ParallelRanges(threads_, tiling.tiles(), 1, [&](int thread, int64_t first, int64_t last) {
      for (int64_t tile = first; tile < last; ++tile) {
        const Place place = tiling.PlaceOf(tile);
        HWY_DYNAMIC_DISPATCH(FeedFieldState)
        (tiling.Tile(place, thread), tiling.State(0, place, place.chunk + 1));
      }
    });
    for (int64_t track = 0; track < tiling.tracks(); ++track) {
      for (int64_t chunk = 0; chunk < chunks; ++chunk) pass(tiling.PlaceOf(track, chunk));
    }
    ParallelRanges(threads_, tiling.tiles(), 1, [&](int thread, int64_t first, int64_t last) {
      for (int64_t tile = first; tile < last; ++tile) {
        const Place place = tiling.PlaceOf(tile);
        read(place, tiling.Tile(place, thread), room + thread * own_floats);
      }
    });
  }
  for (int64_t b = 0; b < size.batch && !state.empty(); ++b) {
    std::memcpy(state.f32() + b * state_floats, tiling.State(0, Place{b, 0, 0}, chunks),
                state_floats * sizeof(float));
  }
}

}  // namespace wavefield
#endif
