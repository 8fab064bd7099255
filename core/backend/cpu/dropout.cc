#include <algorithm>
#include <array>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"
#include "core/base/rng.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/dropout.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

constexpr int64_t kChunk = 64;  // blocks of four columns: one draw of Philox each

// words[4j … 4j+3] = Philox({first + j, token's low half, its high half, sequence}, key) for
// j < blocks (core/base/rng.h); words has room for kChunk blocks. A vector holds one 32-bit word in
// each 64-bit lane.
void PhiloxWords(uint64_t key, int64_t first, uint64_t token, uint32_t sequence, int64_t blocks,
                 uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR  // has no pairs of halves
  const std::array<uint32_t, 2> halves = {static_cast<uint32_t>(key),
                                          static_cast<uint32_t>(key >> 32)};
  for (int64_t j = 0; j < blocks; ++j) {
    const auto drawn = Philox({static_cast<uint32_t>(first + j), static_cast<uint32_t>(token),
                               static_cast<uint32_t>(token >> 32), sequence},
                              halves);
    std::copy(drawn.begin(), drawn.end(), words + 4 * j);
  }
#else
  const hn::ScalableTag<uint64_t> d;
  const hn::Repartition<uint32_t, decltype(d)> halves;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto low = hn::Set(d, 0xFFFFFFFF);
  const auto multiply = [&](auto x, uint64_t factor) HWY_ATTR {
    return hn::MulEven(hn::BitCast(halves, x), hn::BitCast(halves, hn::Set(d, factor)));
  };
  for (int64_t j = 0; j < blocks; j += lanes) {
    auto c0 = hn::Iota(d, static_cast<uint64_t>(first + j));
    auto c1 = hn::Set(d, token & 0xFFFFFFFF), c2 = hn::Set(d, token >> 32);
    auto c3 = hn::Set(d, static_cast<uint64_t>(sequence));
    auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const auto p0 = multiply(c0, 0xD2511F53), p1 = multiply(c2, 0xCD9E8D57);
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, static_cast<uint64_t>(key0)));
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, static_cast<uint64_t>(key1)));
      c1 = hn::And(p1, low);
      c3 = hn::And(p0, low);
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
    hn::StoreInterleaved2(hn::Or(c0, hn::ShiftLeft<32>(c1)), hn::Or(c2, hn::ShiftLeft<32>(c3)), d,
                          reinterpret_cast<uint64_t*>(words + 4 * j));
  }
#endif
}

void DropRow(uint64_t key, uint32_t threshold, float scale, uint64_t token, uint32_t sequence,
             int64_t width, float* x) {
  alignas(64) uint32_t words[4 * kChunk];
  for (int64_t begin = 0; begin < width; begin += 4 * kChunk) {
    const int64_t n = std::min(4 * kChunk, width - begin);
    PhiloxWords(key, begin / 4, token, sequence, (n + 3) / 4, words);
    float* part = x + begin;
    ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
      const hn::Rebind<uint32_t, decltype(d)> bits;
      const auto drop = hn::Lt(hn::LoadU(bits, words + i), hn::Set(bits, threshold));
      const auto kept = hn::Mul(hn::LoadU(d, part + i), hn::Set(d, scale));
      hn::StoreU(hn::IfThenZeroElse(hn::RebindMask(d, drop), kept), d, part + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(DropRow);

void CpuBackend::Dropout(uint64_t key, float rate, int64_t batch, int64_t position, Tensor x) {
  const auto size = contract::Dropout(rate, batch, position, x);
  if (rate == 0) return;
  const int64_t width = x.shape[1];
  const uint32_t threshold = contract::DropoutThreshold(rate);
  const float scale = 1.0f / (1.0f - rate);
  ParallelRanges(threads_, batch * size.tokens, 16, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      HWY_DYNAMIC_DISPATCH(DropRow)
      (key, threshold, scale, static_cast<uint64_t>(position + n % size.tokens),
       static_cast<uint32_t>(n / size.tokens), width, x.f32() + n * width);
    }
  });
}

}  // namespace wavefield
#endif
