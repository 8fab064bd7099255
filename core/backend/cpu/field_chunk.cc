#include "core/backend/cpu/field_chunk.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace wavefield {

void CopyRows(const float* from, int64_t from_stride, int64_t count, int64_t d, float* to,
              int64_t to_stride) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * to_stride, from + i * from_stride, d * sizeof(float));
  }
}

void FillFieldAngles(float omega, float phi, int64_t tokens, FieldAngles& angles) {
  const int64_t last = std::min(tokens, kFieldChunk);
  angles.omega = omega;
  std::fill_n(angles.pair_cos, 2 * kFieldChunk, 0.0f);
  std::fill_n(angles.pair_sin, 2 * kFieldChunk, 0.0f);
  std::fill_n(angles.pair_distance, 2 * kFieldChunk, 0.0f);
  for (int64_t n = 0; n <= last; ++n) {
    const double turn = static_cast<double>(omega) * static_cast<double>(n);
    angles.turn_cos[n] = static_cast<float>(std::cos(turn));
    angles.turn_sin[n] = static_cast<float>(std::sin(turn));
    angles.wave_cos[n] = static_cast<float>(std::cos(turn + phi));
    angles.wave_sin[n] = static_cast<float>(std::sin(turn + phi));
    if (n == kFieldChunk) break;
    angles.pair_cos[kFieldChunk - 1 - n] = angles.wave_cos[n];
    angles.pair_sin[kFieldChunk - 1 - n] = angles.wave_sin[n];
    angles.pair_distance[kFieldChunk - 1 - n] = static_cast<float>(n);
  }
}

void FillFieldDecays(const float* damping, int64_t stride, int64_t count, FieldDecays& decays) {
  const auto keep = [](double decay) {
    return decay < kSmallestDecay ? 0.0f : static_cast<float>(decay);
  };
  double steps[kFieldChunk];
  double decay = 1.0;
  for (int64_t j = 0; j < count; ++j) {
    steps[j] = std::exp(-static_cast<double>(damping[j * stride]));
    decay *= steps[j];
    decays.step[j] = keep(steps[j]);
    decays.from_start[j] = keep(decay);
  }
  decay = 1.0;
  for (int64_t j = count - 1; j >= 0; --j) {
    decays.to_end[j] = keep(decay);
    decay *= steps[j];
  }
  decays.whole = decays.from_start[count - 1];
}

}  // namespace wavefield
