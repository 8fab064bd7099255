#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/time/clock.h"
#include "core/comm/communicator.h"
#include "tests/core/comm/rank_group.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

enum class Kind { kSolo, kInProcess, kGloo };

std::string Name(Kind kind) {
  if (kind == Kind::kSolo) return "Solo";
  return kind == Kind::kGloo ? "Gloo" : "InProcess";
}

RankGroup MakeGroup(Kind kind) {
  if (kind == Kind::kGloo) return MakeGlooGroup(3);
  if (kind == Kind::kInProcess) return MakeInProcessCommunicators(3);
  RankGroup group;
  group.push_back(MakeSoloCommunicator());
  return group;
}

class AbortTest : public testing::TestWithParam<Kind> {};

absl::Status Sum(Communicator& communicator, size_t length = 1000) {
  std::vector<float> data(length, 1.0f);
  return communicator.AllReduceSum(std::span<float>(data));
}

TEST_P(AbortTest, EveryLaterOperationFailsAtOnceWithTheFirstReason) {
  RankGroup group = MakeGroup(GetParam());
  group[0]->Abort("worker w3 was lost");
  group[0]->Abort("another reason");
  std::vector<double> doubles(10);
  std::vector<float> floats(10);
  const Stopwatch watch;
  for (const absl::Status& status :
       {Sum(*group[0]), group[0]->AllReduceSum(std::span<double>(doubles)),
        group[0]->Broadcast(floats, 0), group[0]->Barrier()}) {
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("worker w3 was lost"));
  }
  EXPECT_LT(watch.Elapsed(), kWakeLimit);
}

INSTANTIATE_TEST_SUITE_P(All, AbortTest,
                         testing::Values(Kind::kSolo, Kind::kInProcess, Kind::kGloo),
                         [](const auto& info) { return Name(info.param); });

class PendingAbortTest : public testing::TestWithParam<Kind> {};

// Rank 2 never enters: ranks 0 and 1 wait in `operation` until they are aborted.
void ExpectAbortWakes(RankGroup& group, const std::function<absl::Status(Communicator&)>& operation,
                      absl::Duration delay) {
  OnEveryRank(2, [&](int rank) {
    Communicator& communicator = *group[static_cast<size_t>(rank)];
    Stopwatch since_abort;
    std::jthread aborter([&] {
      absl::SleepFor(delay);
      since_abort.Restart();
      communicator.Abort("rank 2 was lost");
    });
    const absl::Status status = operation(communicator);
    aborter.join();
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_LT(since_abort.Elapsed(), kWakeLimit);
  });
}

TEST_P(PendingAbortTest, WakesAPendingAllReduce) {
  RankGroup group = MakeGroup(GetParam());
  ExpectAbortWakes(
      group, [](Communicator& c) { return Sum(c, 3'000'000); }, absl::Milliseconds(50));
}

TEST_P(PendingAbortTest, WakesAPendingBroadcast) {
  RankGroup group = MakeGroup(GetParam());
  ExpectAbortWakes(
      group,
      [](Communicator& c) {
        std::vector<float> data(1000);
        return c.Broadcast(data, 2);
      },
      absl::Milliseconds(50));
}

TEST_P(PendingAbortTest, WakesAPendingBarrier) {
  RankGroup group = MakeGroup(GetParam());
  ExpectAbortWakes(
      group, [](Communicator& c) { return c.Barrier(); }, absl::Milliseconds(50));
}

TEST_P(PendingAbortTest, WakesAtWhateverMomentItComes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    RankGroup group = MakeGroup(GetParam());
    ExpectAbortWakes(
        group, [](Communicator& c) { return Sum(c); }, absl::Microseconds(random() % 1000));
  }
}

TEST_P(PendingAbortTest, MayComeFromManyThreadsAtOnce) {
  RankGroup group = MakeGroup(GetParam());
  std::vector<std::jthread> aborters;
  for (int i = 0; i < 4; ++i) {
    aborters.emplace_back([&] {
      absl::SleepFor(absl::Milliseconds(20));
      group[0]->Abort("lost");
    });
  }
  EXPECT_TRUE(absl::IsAborted(group[0]->Barrier()));
}

INSTANTIATE_TEST_SUITE_P(All, PendingAbortTest, testing::Values(Kind::kInProcess, Kind::kGloo),
                         [](const auto& info) { return Name(info.param); });

TEST(GlooAbort, ReachesThePeersThatNobodyTold) {
  RankGroup group = MakeGlooGroup(3);
  Stopwatch since_abort;
  std::jthread aborter([&] {
    absl::SleepFor(absl::Milliseconds(50));
    since_abort.Restart();
    group[2]->Abort("preempted");
  });
  OnEveryRank(2, [&](int rank) {
    const absl::Status status = group[static_cast<size_t>(rank)]->Barrier();
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_LT(since_abort.Elapsed(), kWakeLimit);
  });
}

TEST(GlooTimeout, NamesTheRankThatDidNotComeAndStaysFailed) {
  RankGroup group = MakeGlooGroup(2, absl::Seconds(1));
  const absl::Status status = Sum(*group[0]);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("waiting for rank 1"));
  const Stopwatch watch;
  EXPECT_EQ(Sum(*group[0]), status);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1)) << "no timeout again";
}

}  // namespace
}  // namespace wavefield
