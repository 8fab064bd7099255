#pragma once

#include <cstdint>
#include <numeric>

#include "tests/cuda/emulation/runtime.h"

namespace wavefield::emulation {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t x = (state_ += 0x9e3779b97f4a7c15ull);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }
  // 0 … n − 1.
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

// An order of 0 … n − 1: in steps of a number that has no factor in common with n.
class Permutation {
 public:
  Permutation(Order order, uint64_t n, Random& random) : n_(n) {
    if (order == Order::kReverse) {
      start_ = n - 1;
      step_ = n - 1;
    } else if (order == Order::kSeeded && n > 1) {
      start_ = random.Below(n);
      do {
        step_ = 1 + random.Below(n - 1);
      } while (std::gcd(step_, n) != 1);
    }
    if (step_ == 0) step_ = 1;
    next_ = start_;
  }
  uint64_t Next() {
    const uint64_t value = next_;
    next_ += step_;
    if (next_ >= n_) next_ -= n_;
    return value;
  }

 private:
  uint64_t n_, start_ = 0, step_ = 1, next_ = 0;
};

}  // namespace wavefield::emulation
