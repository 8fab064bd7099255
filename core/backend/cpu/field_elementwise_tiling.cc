#include <algorithm>
#include <cmath>
#include <complex>

#include "core/backend/cpu/field_elementwise.h"

namespace wavefield {
namespace {

// Channels of a tile: whole heads, rows long enough to stream, few enough to stay in the cache.
constexpr int64_t kTileChannels = 256;

constexpr int64_t kPoleFloats = sizeof(FieldPoles) / sizeof(float);

int64_t Chunks(const contract::FieldSizes& size) {
  return (size.tokens + kElementwiseChunk - 1) / kElementwiseChunk;
}

}  // namespace

void FillFieldPoles(const float* damping, int64_t stride, float frequency, float phase,
                    int64_t count, FieldPoles& poles) {
  using Complex = std::complex<double>;
  const auto times = [](Complex a, Complex b) {
    return Complex(a.real() * b.real() - a.imag() * b.imag(),
                   a.real() * b.imag() + a.imag() * b.real());
  };
  const Complex turn = std::polar(1.0, static_cast<double>(frequency));
  const Complex read = std::polar(1.0, static_cast<double>(phase));
  Complex passage = 1.0;
  double decay = 1.0, step_decay = 1.0;
  for (int64_t t = 0; t < count; ++t) {
    if (t == 0 || stride != 0) {
      step_decay = std::exp(-static_cast<double>(damping[t * stride]));
      if (step_decay < kSmallestField) step_decay = 0.0;
    }
    const Complex step = step_decay * turn;
    decay *= step_decay;
    // Written so that a NaN stays.
    passage = decay < kSmallestField ? Complex(0.0) : times(passage, step);
    const Complex seen = times(read, passage);
    poles.step_re[t] = static_cast<float>(step.real());
    poles.step_im[t] = static_cast<float>(step.imag());
    poles.passage_re[t] = static_cast<float>(passage.real());
    poles.passage_im[t] = static_cast<float>(passage.imag());
    poles.read_re[t] = static_cast<float>(seen.real());
    poles.read_im[t] = static_cast<float>(seen.imag());
  }
  poles.phase_re = static_cast<float>(read.real());
  poles.phase_im = static_cast<float>(read.imag());
}

int64_t FieldTiling::GroupOf(const contract::FieldSizes& size) {
  return std::clamp<int64_t>(kTileChannels / std::max<int64_t>(size.head_width, 1), 1, size.heads);
}

int64_t FieldTiling::Tiles(const contract::FieldSizes& size) {
  const int64_t group = GroupOf(size);
  return size.batch * Chunks(size) * ((size.heads + group - 1) / group);
}

int64_t FieldTiling::Room(const contract::FieldSizes& size, int threads, int chains) {
  const int64_t poles = size.static_damping ? size.heads : threads * GroupOf(size);
  return size.batch *
             (chains * (Chunks(size) + 1) * 2 * size.width() + Chunks(size) * size.heads * 2) +
         poles * kPoleFloats;
}

FieldTiling::FieldTiling(const contract::FieldSizes& size, int chains, Tensor qkv, Tensor damping,
                         Tensor frequency, Tensor phase, float* room)
    : size_(size),
      group_(GroupOf(size)),
      groups_((size.heads + group_ - 1) / group_),
      chunks_(Chunks(size)),
      qkv_(qkv),
      damping_(damping),
      frequency_(frequency),
      phase_(phase),
      states_(room),
      passages_(states_ + chains * size.batch * (chunks_ + 1) * 2 * size.width()),
      poles_(reinterpret_cast<FieldPoles*>(passages_ + size.batch * chunks_ * size.heads * 2)) {
  if (!size.static_damping) return;
  for (int64_t h = 0; h < size.heads; ++h) {
    FillFieldPoles(damping.f32() + h, 0, frequency.f32()[h], phase.f32()[h],
                   std::min(size.tokens, kElementwiseChunk), poles_[h]);
  }
}

FieldTile FieldTiling::Tile(const Place& place, int thread) const {
  const int64_t first = FirstHead(place);
  const int64_t heads = Heads(place);
  const int64_t count = std::min(kElementwiseChunk, size_.tokens - place.chunk * kElementwiseChunk);
  FieldPoles* poles = size_.static_damping ? poles_ + first : poles_ + thread * group_;
  float* passages = Passages(place);
  for (int64_t h = 0; h < heads; ++h) {
    if (!size_.static_damping) {
      FillFieldPoles(damping_.f32() + FirstRow(place) * size_.heads + first + h, size_.heads,
                     frequency_.f32()[first + h], phase_.f32()[first + h], count, poles[h]);
    }
    passages[2 * h] = poles[h].passage_re[count - 1];
    passages[2 * h + 1] = poles[h].passage_im[count - 1];
  }
  const int64_t width = size_.width();
  const float* k = qkv_.f32() + FirstRow(place) * 3 * width + width + FirstChannel(place);
  return {count, heads, size_.head_width, width, k, poles};
}

}  // namespace wavefield
