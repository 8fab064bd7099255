#pragma once

#include <array>
#include <cstdint>

namespace wavefield {

inline constexpr int64_t kMaxTaps = 32;
inline constexpr int64_t kConvTile = 256;  // channels

struct ConvWeights {
  int64_t taps, channels;
  const float* weight;  // [taps, channels]: transposed
  const float* bias;    // [channels]
};

// The inputs that one output sees, oldest first.
using ConvWindow = std::array<const float*, kMaxTaps>;

// One sequence of inputs and what stands before it.
struct ConvSequence {
  const float* x;  // token t at x + t · stride
  int64_t stride;
  const float* before;  // [taps − 1, channels], oldest first

  ConvWindow Window(int64_t t, const ConvWeights& conv) const {
    ConvWindow window;
    for (int64_t i = 0; i < conv.taps; ++i) {
      const int64_t s = t - (conv.taps - 1) + i;
      window[i] = s >= 0 ? x + s * stride : before + (s + conv.taps - 1) * conv.channels;
    }
    return window;
  }
};

}  // namespace wavefield
