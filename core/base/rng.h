#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace wavefield {

// Philox4x32-10, a counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011): four 32-bit words that are a pure function of (counter, key).
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of random numbers addressed by index: draw i is a pure function of (seed, name, i), so
// it does not depend on device, threads, ranks or the order of calls. Immutable; thread-safe.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  // 64 random bits.
  uint64_t Bits(uint64_t index) const;
  // Uniform in [0, 1), 53 bits.
  double Uniform(uint64_t index) const;
  // Standard normal (Box–Muller on two 53-bit uniforms).
  double Normal(uint64_t index) const;
  // Uniform integer in [0, bound), without bias beyond 2^-64 · bound. REQUIRES: bound > 0.
  uint64_t Below(uint64_t index, uint64_t bound) const;

 private:
  std::array<uint32_t, 2> key_;
  uint64_t stream_;
};

// FNV-1a, 64 bit: a stable hash of names; not for untrusted keys.
uint64_t HashName(std::string_view name);

}  // namespace wavefield
