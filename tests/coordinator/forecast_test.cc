// When jobs should end, and when those that wait should start.
#include "coordinator/scheduler/forecast.h"

#include <gtest/gtest.h>

#include "coordinator/jobs/timestamps.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/coordinator/scheduler_fixtures.h"

namespace wavefield::coordinator {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

JobRecord TrainingJob(int64_t max_steps, int64_t step, double step_seconds) {
  JobRecord record = StartedJob("x", 2);
  v1::Job& job = *record.mutable_job();
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_max_steps(max_steps);
  *job.mutable_last_step() = StepAt(step);
  job.mutable_last_step()->set_step_seconds(step_seconds);
  *record.mutable_last_step_time() = ToTimestamp(kNow - absl::Seconds(3));
  return record;
}

TEST(ExpectedEnd, GoesByTheStepsThatAreLeft) {
  EXPECT_EQ(ExpectedEnd(TrainingJob(100, 40, 2), kNow), kNow + absl::Seconds(117));
  EXPECT_EQ(ExpectedEnd(TrainingJob(100, 100, 2), kNow), kNow) << "never in the past";
}

TEST(ExpectedEnd, GoesByTheTimeThatIsLeftIfThatIsLess) {
  JobRecord record = TrainingJob(100, 40, 2);
  record.mutable_job()->mutable_spec()->mutable_training()->set_max_minutes(5);
  record.mutable_job()->mutable_last_step()->set_trained_seconds(270);
  EXPECT_EQ(ExpectedEnd(record, kNow), kNow + absl::Seconds(27));
  record.mutable_job()->set_max_steps(0);
  EXPECT_EQ(ExpectedEnd(record, kNow), kNow + absl::Seconds(27));
  record.mutable_job()->set_state(v1::JOB_STATE_STOPPING);
  EXPECT_EQ(ExpectedEnd(record, kNow), kNow + absl::Minutes(1));
}

TEST(ExpectedEnd, IsUnknownWithoutAStepOrABudget) {
  JobRecord record = StartedJob("x");
  record.mutable_job()->set_max_steps(100);
  EXPECT_EQ(ExpectedEnd(record, kNow), std::nullopt);
  EXPECT_EQ(ExpectedEnd(TrainingJob(0, 40, 2), kNow), std::nullopt);
  EXPECT_EQ(ExpectedEnd(TrainingJob(INT64_MAX, 40, 2), kNow), std::nullopt) << "too far to tell";
  EXPECT_EQ(ExpectedEnd(QueuedJob("x"), kNow), std::nullopt);
}

TEST(LostWork, IsWhatWasDoneSinceTheNewestCheckpoint) {
  JobRecord record = TrainingJob(100, 40, 2);
  EXPECT_DOUBLE_EQ(LostWork(record), 40 * 2 * 2) << "of two slots";
  record.mutable_job()->set_latest_checkpoint("jobs/x/checkpoints/30-1");
  EXPECT_DOUBLE_EQ(LostWork(record), 10 * 2 * 2);
  record.mutable_job()->mutable_last_step()->set_attempt(0);
  EXPECT_DOUBLE_EQ(LostWork(record), 0) << "of an earlier attempt";
}

TEST(Forecast, JobsStartInTheirOrderAsSlotsComeFree) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/r", "jobs/s"})},
                             {Job("first", 2, 1), Job("second", 1, 2), Job("third", 1, 3)}};
  snapshot.now = kNow;
  snapshot.holding = {Holding("r", 1), Holding("s", 1)};
  snapshot.holding[0].expected_end = kNow + absl::Minutes(5);
  snapshot.holding[1].expected_end = kNow + absl::Minutes(20);
  snapshot.queue[0].expected_run = absl::Minutes(30);
  const auto starts = ForecastStarts(snapshot);
  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts.at("first"), kNow + absl::Minutes(20)) << "needs both";
  EXPECT_EQ(starts.at("second"), kNow + absl::Minutes(50)) << "not before the first";
  EXPECT_EQ(starts.at("third"), kNow + absl::Minutes(50));
}

TEST(Forecast, IsSilentWhereAnEndIsNotKnown) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/r", "an evaluation"})},
                             {Job("one", 1, 1), Job("two", 1, 2), Job("both", 2, 3)}};
  snapshot.now = kNow;
  snapshot.holding = {Holding("r", 1)};
  EXPECT_TRUE(ForecastStarts(snapshot).empty());
  snapshot.holding[0].expected_end = kNow + absl::Minutes(5);
  const auto starts = ForecastStarts(snapshot);
  EXPECT_EQ(starts.size(), 1u) << "when `one` ends is not known";
  EXPECT_EQ(starts.at("one"), kNow + absl::Minutes(5));
}

TEST(Forecast, KnowsWhatStartsAtOnceWhatIsMadeRoomForAndRanksThatEnd) {
  SchedulerSnapshot snapshot{{Host("a", {"", "jobs/low"}), Host("g", {"jobs/again"}, "cuda")},
                             {Job("now", 1, 1, 900), Job("high", 1, 2, 500), Job("again", 1, 3)}};
  snapshot.now = kNow;
  snapshot.holding = {Holding("low", 1), Holding("again", 1)};
  snapshot.holding[1].ending = true;
  snapshot.queue[2].device = "cuda";
  snapshot.queue[2].ranks_still_running = 1;
  const auto starts = ForecastStarts(snapshot);
  EXPECT_EQ(starts.at("now"), kNow);
  EXPECT_EQ(starts.at("high"), kNow + absl::Minutes(1));
  EXPECT_EQ(starts.at("again"), kNow + absl::Minutes(1));
}

TEST(Forecast, AThousandJobsAreNoTrouble) {
  SchedulerSnapshot snapshot;
  snapshot.now = kNow;
  for (int i = 0; i < 64; ++i) {
    const std::string id = "r" + std::to_string(i);
    snapshot.hosts.push_back(Host("w" + std::to_string(i), {"jobs/" + id}));
    snapshot.holding.push_back(Holding(id, 1));
    snapshot.holding.back().expected_end = kNow + absl::Seconds(i + 1);
  }
  for (int i = 0; i < 1000; ++i) {
    snapshot.queue.push_back(Job("q" + std::to_string(i), 1 + i % 8, i));
    snapshot.queue.back().expected_run = absl::Seconds(100 + i);
  }
  EXPECT_EQ(ForecastStarts(snapshot).size(), kMostForecasts);
}

}  // namespace
}  // namespace wavefield::coordinator
