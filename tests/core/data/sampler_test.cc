#include "core/data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/core/data/scratch_directory.h"

namespace wavefield {
namespace {

using testing::Each;
using testing::ElementsAre;

// The starts of the windows of one epoch, in order.
std::vector<int64_t> Epoch(int64_t tokens, int64_t length, uint64_t seed, int64_t epoch) {
  const BatchSampler sampler(tokens, length, 1, seed);
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < sampler.windows(); ++i) {
    starts.push_back(sampler.Batch(epoch * sampler.windows() + i)[0]);
  }
  return starts;
}

std::vector<int64_t> AllStarts(int64_t windows, int64_t length) {
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < windows; ++i) starts.push_back(i * length);
  return starts;
}

TEST(BatchSampler, EveryEpochVisitsEveryWindowOnce) {
  SeededRandom random;
  for (int64_t windows = 1; windows <= 70; ++windows) {
    const auto length = static_cast<int64_t>(1 + random.Below(9));
    const auto tail = static_cast<int64_t>(random.Below(static_cast<uint64_t>(length)));
    const uint64_t seed = random.Below(1000);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      auto starts = Epoch(windows * length + 1 + tail, length, seed, epoch);
      std::sort(starts.begin(), starts.end());
      EXPECT_EQ(starts, AllStarts(windows, length)) << windows << " windows, epoch " << epoch;
    }
  }
}

TEST(BatchSampler, EveryTokenButTheFirstIsATargetOnceAnEpoch) {
  const int64_t length = 5;
  std::multiset<int64_t> targets;
  for (const int64_t start : Epoch(41, length, 3, 0)) {
    for (int64_t t = 1; t <= length; ++t) targets.insert(start + t);
  }
  std::multiset<int64_t> expected;
  for (int64_t t = 1; t <= 40; ++t) expected.insert(t);
  EXPECT_EQ(targets, expected);
}

TEST(BatchSampler, EpochsAndSeedsHaveOrdersOfTheirOwn) {
  const auto order = Epoch(1001, 10, 7, 0);
  EXPECT_NE(order, AllStarts(100, 10));
  EXPECT_NE(order, Epoch(1001, 10, 7, 1));
  EXPECT_NE(order, Epoch(1001, 10, 8, 0));
  EXPECT_EQ(order, Epoch(1001, 10, 7, 0));
}

TEST(BatchSampler, TheBatchSizeGroupsTheSameOrder) {
  const BatchSampler ones(1001, 10, 1, 5);
  const BatchSampler sevens(1001, 10, 7, 5);
  for (int64_t batch = 0; batch < 50; ++batch) {
    const auto starts = sevens.Batch(batch);
    for (int64_t i = 0; i < 7; ++i) {
      EXPECT_EQ(starts[static_cast<size_t>(i)], ones.Batch(batch * 7 + i)[0]);
    }
  }
}

TEST(BatchSampler, ABatchDoesNotDependOnEarlierCalls) {
  const BatchSampler sampler(100'001, 100, 16, 11);
  const auto wanted = sampler.Batch(40);
  for (const int64_t other : {0, 999'999'999, 3}) sampler.Batch(other);
  EXPECT_EQ(sampler.Batch(40), wanted);
  EXPECT_EQ(BatchSampler(100'001, 100, 16, 11).Batch(40), wanted);
}

TEST(BatchSampler, OneWindowFillsEveryBatch) {
  const BatchSampler sampler(9, 8, 4, 1);
  EXPECT_EQ(sampler.windows(), 1);
  EXPECT_THAT(sampler.Batch(0), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(sampler.Batch(12345), Each(0));
}

TEST(BatchSampler, ABatchLargerThanTheDataVisitsAllWindowsEquallyOften) {
  const BatchSampler sampler(31, 10, 9, 2);
  auto starts = sampler.Batch(0);
  std::sort(starts.begin(), starts.end());
  EXPECT_THAT(starts, ElementsAre(0, 0, 0, 10, 10, 10, 20, 20, 20));
}

TEST(BatchSampler, WindowsOfAHugeStreamStayInside) {
  const int64_t tokens = (int64_t{1} << 40) + 12345;
  const BatchSampler sampler(tokens, 1023, 64, 9);
  std::set<int64_t> seen;
  for (int64_t batch = 0; batch < 100; ++batch) {
    for (const int64_t start : sampler.Batch(batch)) {
      EXPECT_GE(start, 0);
      EXPECT_LE(start + 1024, tokens);
      seen.insert(start);
    }
  }
  EXPECT_EQ(seen.size(), 6400u);
}

TEST(BatchSampler, EarlyWindowsComeFromAllOverTheStream) {
  const auto order = Epoch(4001, 1, 21, 0);
  const double mean = std::accumulate(order.begin(), order.begin() + 400, 0.0) / 400;
  EXPECT_NEAR(mean, 2000, 300);  // five standard deviations
}

TEST(BatchSamplerDeathTest, RefusesAStreamShorterThanAWindow) {
  EXPECT_DEATH(BatchSampler(8, 8, 1, 0), "shorter than one window");
}

}  // namespace
}  // namespace wavefield
