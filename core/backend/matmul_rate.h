#pragma once

#include <cstdint>

namespace wavefield {

// MeasureMatMulRate() (backend.h) times products of this size³, and of the large one where they are
// over so soon that launching them counts: on a GPU. It holds three such matrices meanwhile.
inline constexpr int64_t kMatMulRateSize = 2048;
inline constexpr int64_t kLargeMatMulRateSize = 8192;

}  // namespace wavefield
