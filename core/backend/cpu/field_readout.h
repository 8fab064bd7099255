#pragma once

#include <algorithm>
#include <cstdint>

namespace wavefield {

// Heads are padded to whole vectors of any instruction set that is compiled.
inline constexpr int64_t kReadoutPad = 16;

struct ReadoutLayout {
  int64_t heads, head_width, padded;
  int64_t width() const { return heads * head_width; }
  // Between rows of q and of the gate.
  int64_t q_stride() const { return 3 * width(); }
  int64_t gate_stride() const { return 4 * width(); }
};

// What one thread needs for one row at a time; padding is zero.
struct ReadoutRoom {
  float* y;            // [heads, padded]
  float* coupled;      // [heads, padded]: ỹ
  float* gradient;     // [heads, padded]
  float* mixed;        // [heads, padded]: ỹ before it is multiplied by q; unused without a q
  float* inverse_rms;  // [heads]
  float* lane_sums;    // [heads, heads, kReadoutPad]

  static int64_t Floats(const ReadoutLayout& layout) {
    const int64_t floats = layout.heads * (4 * layout.padded + 1 + layout.heads * kReadoutPad);
    return (floats + kReadoutPad - 1) / kReadoutPad * kReadoutPad;
  }
  ReadoutRoom(const ReadoutLayout& layout, float* memory) {
    const int64_t row = layout.heads * layout.padded;
    y = memory;
    coupled = y + row;
    gradient = coupled + row;
    mixed = gradient + row;
    inverse_rms = mixed + row;
    lane_sums = inverse_rms + layout.heads;
    std::fill_n(memory, 4 * row, 0.0f);
  }
};

}  // namespace wavefield
