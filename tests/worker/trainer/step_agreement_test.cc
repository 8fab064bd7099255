#include "worker/trainer/step_agreement.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

// What each rank of a group is told.
std::vector<StepAgreement> AgreeOn(const std::vector<StepShare>& shares) {
  const auto communicators = MakeInProcessCommunicators(static_cast<int>(shares.size()));
  std::vector<StepAgreement> agreed(shares.size());
  std::vector<std::thread> ranks;
  for (size_t i = 0; i < shares.size(); ++i) {
    ranks.emplace_back([&, i] { agreed[i] = Agree(shares[i], *communicators[i]).value(); });
  }
  for (std::thread& rank : ranks) rank.join();
  return agreed;
}

TEST(StepAgreement, EveryRankLearnsWhichWasTheSlowestAndByHowMuch) {
  std::mt19937_64 random(testing::FreshSeed());
  std::uniform_real_distribution<double> seconds(0.5, 1.0);
  for (const size_t world_size : {1u, 2u, 4u, 7u}) {
    std::vector<StepShare> shares(world_size);
    for (StepShare& share : shares) {
      // None of what is waiting or the same for all.
      share.phases = {.data = seconds(random),
                      .forward = seconds(random),
                      .backward = seconds(random),
                      .communicate = 100 * seconds(random),
                      .optimize = 100 * seconds(random),
                      .checkpoint = 100 * seconds(random)};
    }
    const size_t slow = random() % world_size;
    shares[slow].phases.backward += 5;
    double least = 1e9;
    double most = 0;
    for (const StepShare& share : shares) {
      const double busy = share.phases.data + share.phases.forward + share.phases.backward;
      least = std::min(least, busy);
      most = std::max(most, busy);
    }
    for (const StepAgreement& agreed : AgreeOn(shares)) {
      EXPECT_EQ(agreed.slowest_rank, static_cast<int>(slow));
      EXPECT_DOUBLE_EQ(agreed.rank_skew_seconds, most - least);
    }
  }
}

TEST(StepAgreement, SumsMeansAndWishesAreOfAllRanks) {
  std::mt19937_64 random(testing::FreshSeed());
  std::vector<StepShare> shares(3);
  uint64_t digest = 0;
  for (StepShare& share : shares) {
    share.sums = {.loss = 2.5, .tokens = 40, .correct = 10};
    share.batch_digest = random();
    digest += share.batch_digest;
  }
  shares[1].phases.optimize = 6;
  shares[2].stop = true;
  shares[0].save_due = true;
  shares[1].save.failed = true;
  for (const StepAgreement& agreed : AgreeOn(shares)) {
    EXPECT_EQ(agreed.sums.loss, 7.5);
    EXPECT_EQ(agreed.sums.tokens, 120);
    EXPECT_EQ(agreed.sums.correct, 30);
    EXPECT_EQ(agreed.phases.optimize, 2);
    EXPECT_TRUE(agreed.stop && agreed.save_due && !agreed.budget);
    EXPECT_TRUE(agreed.save.failed && !agreed.save.busy);
    EXPECT_EQ(agreed.batch_digest, digest);
  }
}

}  // namespace
}  // namespace wavefield
