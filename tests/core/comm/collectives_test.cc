#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <tuple>

#include "core/comm/communicator.h"
#include "core/comm/segments.h"
#include "tests/core/comm/rank_group.h"

namespace wavefield {
namespace {

enum class Kind { kInProcess, kGloo };

RankGroup MakeGroup(Kind kind, int world_size) {
  return kind == Kind::kGloo ? MakeGlooGroup(world_size) : MakeInProcessCommunicators(world_size);
}

class CollectivesTest : public testing::TestWithParam<std::tuple<Kind, int>> {
 protected:
  Kind kind() const { return std::get<0>(GetParam()); }
  int world_size() const { return std::get<1>(GetParam()); }
};

constexpr size_t kLengths[] = {0, 1, 2, 1000, 10'007};

template <typename T>
void ExpectClosedFormSums(RankGroup& group) {
  const int n = static_cast<int>(group.size());
  OnEveryRank(n, [&](int rank) {
    for (const size_t length : kLengths) {
      std::vector<T> data(length + 1);
      for (size_t i = 0; i < length; ++i) data[i] = static_cast<T>((rank + 1) * (i % 97 + 1));
      data[length] = -7;  // a sentinel behind the end
      const absl::Status status =
          group[static_cast<size_t>(rank)]->AllReduceSum(std::span<T>(data.data(), length));
      ASSERT_TRUE(status.ok()) << status;
      for (size_t i = 0; i < length; ++i) {
        ASSERT_EQ(data[i], static_cast<T>(n * (n + 1) / 2 * (i % 97 + 1))) << length << " " << i;
      }
      ASSERT_EQ(data[length], -7);
    }
  });
}

TEST_P(CollectivesTest, AllReduceSumsFloats) {
  RankGroup group = MakeGroup(kind(), world_size());
  ExpectClosedFormSums<float>(group);
}

TEST_P(CollectivesTest, AllReduceSumsDoubles) {
  RankGroup group = MakeGroup(kind(), world_size());
  ExpectClosedFormSums<double>(group);
}

TEST_P(CollectivesTest, BroadcastCopiesFromEveryRoot) {
  RankGroup group = MakeGroup(kind(), world_size());
  OnEveryRank(world_size(), [&](int rank) {
    for (int root = 0; root < world_size(); ++root) {
      for (const size_t length : kLengths) {
        std::vector<float> data(length);
        for (size_t i = 0; i < length; ++i) data[i] = static_cast<float>(rank * 20'000) + i;
        const absl::Status status = group[static_cast<size_t>(rank)]->Broadcast(data, root);
        ASSERT_TRUE(status.ok()) << status;
        for (size_t i = 0; i < length; ++i) {
          ASSERT_EQ(data[i], static_cast<float>(root * 20'000) + i) << "root " << root;
        }
      }
    }
  });
}

TEST_P(CollectivesTest, NobodyLeavesABarrierBeforeAllHaveEntered) {
  RankGroup group = MakeGroup(kind(), world_size());
  std::atomic<int> entered = 0;
  OnEveryRank(world_size(), [&](int rank) {
    for (int round = 1; round <= 5; ++round) {
      std::this_thread::sleep_for(std::chrono::milliseconds(rank));
      ++entered;
      ASSERT_TRUE(group[static_cast<size_t>(rank)]->Barrier().ok());
      ASSERT_GE(entered.load(), round * world_size());
    }
  });
}

// Sums of the same random numbers on every rank of `group`.
std::vector<std::vector<float>> RandomSums(RankGroup& group, uint32_t seed, size_t length) {
  std::vector<std::vector<float>> results(group.size());
  OnEveryRank(static_cast<int>(group.size()), [&](int rank) {
    std::mt19937 random(seed + static_cast<uint32_t>(rank));
    std::normal_distribution<float> normal;
    std::vector<float> data(length);
    for (float& x : data) x = normal(random);
    ASSERT_TRUE(group[static_cast<size_t>(rank)]->AllReduceSum(std::span<float>(data)).ok());
    results[static_cast<size_t>(rank)] = std::move(data);
  });
  return results;
}

TEST_P(CollectivesTest, SumsHaveTheSameBitsOnAllRanksOverRunsAndImplementations) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr size_t kLength = 10'007;
  RankGroup first = MakeGroup(kind(), world_size()), second = MakeGroup(kind(), world_size());
  RankGroup other = MakeInProcessCommunicators(world_size());
  const auto expected = RandomSums(first, seed, kLength);
  const auto again = RandomSums(second, seed, kLength);
  const auto in_process = RandomSums(other, seed, kLength);
  for (size_t rank = 0; rank < expected.size(); ++rank) {
    for (const auto* result : {&expected[rank], &again[rank], &in_process[rank]}) {
      ASSERT_EQ(std::memcmp(result->data(), expected[0].data(), kLength * sizeof(float)), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    WorldSizes, CollectivesTest,
    testing::Combine(testing::Values(Kind::kInProcess, Kind::kGloo), testing::Values(1, 2, 4, 7)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param) == Kind::kGloo ? "Gloo" : "InProcess") +
             std::to_string(std::get<1>(info.param));
    });

TEST(Segments, CoverEveryLengthInOrder) {
  for (const int n : {1, 2, 4, 7, 64}) {
    for (size_t length = 0; length < 300; ++length) {
      ASSERT_EQ(SegmentBegin(length, n, 0), 0u);
      ASSERT_EQ(SegmentBegin(length, n, n), length);
      for (int s = 0; s < n; ++s) {
        const size_t size = SegmentBegin(length, n, s + 1) - SegmentBegin(length, n, s);
        ASSERT_LE(size, length / static_cast<size_t>(n) + 1);
      }
    }
  }
}

TEST(SoloCommunicator, LeavesDataAlone) {
  const auto solo = MakeSoloCommunicator();
  std::vector<float> data = {1.5f, -2.0f};
  EXPECT_TRUE(solo->AllReduceSum(std::span<float>(data)).ok());
  EXPECT_TRUE(solo->Broadcast(data, 0).ok());
  EXPECT_TRUE(solo->Barrier().ok());
  EXPECT_EQ(data, (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(solo->world_size(), 1);
}

}  // namespace
}  // namespace wavefield
