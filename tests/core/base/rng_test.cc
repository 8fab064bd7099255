#include "core/base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace wavefield {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers that come with Random123.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, DependsOnSeedNameAndIndexOnly) {
  const RandomStream stream(7, "embedding.weight");
  const uint64_t later = stream.Bits(1000);
  EXPECT_NE(stream.Bits(0), stream.Bits(1));
  EXPECT_EQ(RandomStream(7, "embedding.weight").Bits(1000), later);
  EXPECT_NE(RandomStream(8, "embedding.weight").Bits(1000), later);
  EXPECT_NE(RandomStream(7, "norm.weight").Bits(1000), later);
}

TEST(RandomStream, UniformFillsTheUnitInterval) {
  const RandomStream stream(1, "uniform");
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.Uniform(static_cast<uint64_t>(i));
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
}

TEST(RandomStream, NormalHasTheMomentsOfTheStandardNormal) {
  const RandomStream stream(1, "normal");
  constexpr int kDraws = 200'000;
  double moments[5] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.Normal(static_cast<uint64_t>(i));
    ASSERT_TRUE(std::isfinite(x));
    for (int k = 1; k < 5; ++k) moments[k] += std::pow(x, k) / kDraws;
  }
  EXPECT_NEAR(moments[1], 0, 0.02);
  EXPECT_NEAR(moments[2], 1, 0.02);
  EXPECT_NEAR(moments[3], 0, 0.05);
  EXPECT_NEAR(moments[4], 3, 0.15);
}

TEST(RandomStream, BelowReachesEveryValueAndNoOther) {
  const RandomStream stream(3, "below");
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) seen.insert(stream.Below(i, 7));
  EXPECT_EQ(seen, (std::set<uint64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(stream.Below(5, 1), 0u);
}

}  // namespace
}  // namespace wavefield
