// What retention keeps and removes, by rule and by need.
#include "coordinator/checkpoints/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>

#include "coordinator/jobs/timestamps.h"

namespace wavefield::coordinator {
namespace {

using ::testing::ElementsAre;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

v1::Checkpoint CheckpointAt(int64_t step, double hours, std::optional<double> evaluation = {}) {
  v1::Checkpoint checkpoint;
  checkpoint.set_name("jobs/x/checkpoints/" + std::to_string(step) + "-1");
  checkpoint.set_directory("checkpoints/x/" + std::to_string(step) + "-1");
  checkpoint.set_step(step);
  *checkpoint.mutable_create_time() = ToTimestamp(kStart + absl::Hours(hours));
  if (evaluation) {
    checkpoint.set_evaluated(true);
    checkpoint.set_evaluation_loss(*evaluation);
  }
  return checkpoint;
}

std::vector<std::string> Reasons(const v1::CheckpointPolicy& policy, NewestRule newest,
                                 const std::vector<v1::Checkpoint>& checkpoints,
                                 const std::map<std::string, std::string>& needs = {}) {
  std::vector<std::string> reasons;
  for (const auto& decision : DecideRetention(policy, kStart, newest, checkpoints, needs)) {
    reasons.push_back(decision.reason());
    EXPECT_EQ(decision.kept(), decision.reason() != "no rule keeps it");
  }
  return reasons;
}

TEST(Retention, EveryRuleSaysWhatItKeeps) {
  v1::CheckpointPolicy policy;
  policy.set_keep_last(2);
  policy.set_keep_every_steps(1000);
  policy.set_keep_every_hours(1);
  policy.set_keep_best(2);
  std::vector<v1::Checkpoint> checkpoints = {
      CheckpointAt(2500, 6.9, 3.0), CheckpointAt(2400, 6.8, 3.0), CheckpointAt(2300, 6.7, 2.0),
      CheckpointAt(2200, 6.6, 2.5), CheckpointAt(2100, 6.5, 2.5), CheckpointAt(2050, 6.4),
      CheckpointAt(2000, 6.3),      CheckpointAt(1900, 6.1),      CheckpointAt(1800, 0.2),
      CheckpointAt(1700, 0.1)};
  checkpoints[8].set_pinned(true);
  EXPECT_THAT(
      Reasons(policy, NewestRule::kNeeded, checkpoints,
              {{checkpoints[5].directory(), "downloads read it now"}}),
      ElementsAre("the newest verified one of a job that can be resumed", "one of the newest 2",
                  "one of the 2 best by evaluation loss", "no rule keeps it",
                  "one of the 2 best by evaluation loss", "downloads read it now",
                  "step divisible by 1000", "first of hour 7", "pinned", "first of hour 1"));
}

TEST(Retention, WithoutAPolicyTheNewestStays) {
  EXPECT_THAT(
      Reasons({}, NewestRule::kNeeded, {CheckpointAt(2, 1), CheckpointAt(1, 0)}),
      ElementsAre("the newest verified one of a job that can be resumed", "no rule keeps it"));
  EXPECT_THAT(Reasons({}, NewestRule::kKeptUnlessNamed, {CheckpointAt(2, 1), CheckpointAt(1, 0)}),
              ElementsAre("the newest verified one of its job", "no rule keeps it"));
  EXPECT_TRUE(Reasons({}, NewestRule::kNeeded, {}).empty());
}

TEST(Retention, ADamagedCheckpointIsNeitherTheNewestVerifiedNorABestOne) {
  v1::CheckpointPolicy policy;
  policy.set_keep_best(1);
  std::vector<v1::Checkpoint> checkpoints = {CheckpointAt(3, 3, 1.0), CheckpointAt(2, 2, 3.0),
                                             CheckpointAt(1, 1, 2.0)};
  checkpoints[0].set_damage("model.safetensors: is missing");
  EXPECT_THAT(Reasons(policy, NewestRule::kNeeded, checkpoints),
              ElementsAre("the newest", "the newest verified one of a job that can be resumed",
                          "the best by evaluation loss"));
}

TEST(Retention, LossesThatAreNoNumbersAreNeverTheBest) {
  v1::CheckpointPolicy policy;
  policy.set_keep_best(1);
  EXPECT_THAT(
      Reasons(policy, NewestRule::kKeptUnlessNamed,
              {CheckpointAt(3, 3, 5.0), CheckpointAt(2, 2, std::nan("")), CheckpointAt(1, 1, 9.0)}),
      ElementsAre("the newest verified one of its job", "no rule keeps it", "no rule keeps it"));
}

}  // namespace
}  // namespace wavefield::coordinator
