#include "core/base/rng.h"

#include <cmath>
#include <numbers>

namespace wavefield {
namespace {

__extension__ using WideInteger = unsigned __int128;

double ToUnit(uint32_t high, uint32_t low) {
  const uint64_t bits = (static_cast<uint64_t>(high) << 32) | low;
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

std::array<uint32_t, 4> Counter(uint64_t stream, uint64_t index) {
  return {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
          static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
}

}  // namespace

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * c[0], p1 = kMultiplier1 * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k = {k[0] + kWeyl0, k[1] + kWeyl1};
  }
  return c;
}

uint64_t HashName(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : name) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

RandomStream::RandomStream(uint64_t seed, std::string_view name)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      stream_(HashName(name)) {}

uint64_t RandomStream::Bits(uint64_t index) const {
  const auto words = Philox(Counter(stream_, index), key_);
  return (static_cast<uint64_t>(words[1]) << 32) | words[0];
}

double RandomStream::Uniform(uint64_t index) const {
  const auto words = Philox(Counter(stream_, index), key_);
  return ToUnit(words[1], words[0]);
}

double RandomStream::Normal(uint64_t index) const {
  const auto words = Philox(Counter(stream_, index), key_);
  const double radius = std::sqrt(-2.0 * std::log1p(-ToUnit(words[1], words[0])));
  return radius * std::cos(2.0 * std::numbers::pi * ToUnit(words[3], words[2]));
}

uint64_t RandomStream::Below(uint64_t index, uint64_t bound) const {
  return static_cast<uint64_t>((static_cast<WideInteger>(Bits(index)) * bound) >> 64);
}

}  // namespace wavefield
