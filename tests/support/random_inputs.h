#pragma once

#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace wavefield::testing {

// A fresh seed for each run, printed so that a failure can be repeated with WAVEFIELD_TEST_SEED.
inline uint64_t FreshSeed() {
  const char* fixed = std::getenv("WAVEFIELD_TEST_SEED");
  const uint64_t seed = fixed ? std::strtoull(fixed, nullptr, 10) : std::random_device()();
  std::printf("seed %llu (repeat with WAVEFIELD_TEST_SEED)\n",
              static_cast<unsigned long long>(seed));
  return seed;
}

inline std::vector<int32_t> RandomIds(std::mt19937_64& random, int64_t count, int64_t vocabulary) {
  std::uniform_int_distribution<int32_t> ids(0, static_cast<int32_t>(vocabulary - 1));
  std::vector<int32_t> result(static_cast<size_t>(count));
  for (int32_t& id : result) id = ids(random);
  return result;
}

}  // namespace wavefield::testing
