#pragma once

#include <algorithm>
#include <cstdint>

namespace wavefield::cuda {

// The smallest even 2^a · 3^b · 5^c · 7^d ≥ n: a length that cuFFT is fast at. n ≤ 2^40.
inline int64_t FastFftLength(int64_t n) {
  int64_t best = 2;
  while (best < n) best *= 2;
  for (int64_t seven = 2; seven < best; seven *= 7) {
    for (int64_t five = seven; five < best; five *= 5) {
      for (int64_t three = five; three < best; three *= 3) {
        int64_t length = three;
        while (length < n) length *= 2;
        best = std::min(best, length);
      }
    }
  }
  return best;
}

}  // namespace wavefield::cuda
