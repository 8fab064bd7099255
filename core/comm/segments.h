#pragma once

#include <cstddef>

namespace wavefield {

// An all-reduce cuts `length` elements into one segment per rank: segment s is
// [SegmentBegin(length, n, s), SegmentBegin(length, n, s + 1)), possibly empty. Every
// implementation sums segment s in the order of ranks s, s + 1, …, s + n − 1 (modulo n), which
// fixes its bits.
constexpr size_t SegmentBegin(size_t length, int world_size, int segment) {
  const size_t n = static_cast<size_t>(world_size), s = static_cast<size_t>(segment);
  return length / n * s + length % n * s / n;
}

}  // namespace wavefield
