#include "coordinator/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/quotas.h"
#include "tests/coordinator/scheduler_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

std::vector<std::string> Started(const SchedulerPlan& plan) {
  std::vector<std::string> ids;
  for (const auto& start : plan.starts) ids.push_back(start.job);
  return ids;
}

std::string MessageOf(const SchedulerPlan& plan, const std::string& job) {
  for (const auto& wait : plan.waits) {
    if (wait.job == job) return wait.message;
  }
  return "(starts)";
}

TEST(Scheduler, HigherPriorityThenOlderFirst) {
  const SchedulerPlan plan = Schedule(
      {{Host("a", {"", "", ""})}, {Job("young", 1, 9), Job("old", 1, 1), Job("urgent", 1, 10, 5)}});
  EXPECT_EQ(Started(plan), (std::vector<std::string>{"urgent", "old", "young"}));
}

TEST(Scheduler, GangsAreWholeAndTheReasonHasNumbers) {
  const SchedulerPlan plan = Schedule({{Host("a", {"jobs/x", ""})}, {Job("y", 2, 1)}});
  EXPECT_TRUE(plan.starts.empty());
  EXPECT_EQ(MessageOf(plan, "y"), "needs 2 cpu slots, 1 of 2 free; jobs/x holds 1");
  EXPECT_EQ(plan.waits[0].reason, v1::JOB_REASON_WAITING_FOR_SLOTS);
}

TEST(Scheduler, NobodyPassesAJobThatWaitsForSlots) {
  const SchedulerPlan plan =
      Schedule({{Host("a", {"jobs/x", ""})}, {Job("big", 2, 1), Job("small", 1, 2)}});
  EXPECT_TRUE(plan.starts.empty());
  EXPECT_THAT(MessageOf(plan, "small"), HasSubstr("after jobs/big"));
}

TEST(Scheduler, AJobTooBigForTheClusterHoldsNobodyUp) {
  const SchedulerPlan plan =
      Schedule({{Host("a", {"", ""})}, {Job("huge", 4, 1), Job("small", 1, 2)}});
  EXPECT_EQ(Started(plan), std::vector<std::string>{"small"});
  EXPECT_EQ(MessageOf(plan, "huge"), "needs 4 cpu slots; the cluster has 2 cpu slots");
  EXPECT_EQ(plan.waits[0].reason, v1::JOB_REASON_WAITING_FOR_WORKERS);
}

TEST(Scheduler, SaysThatThereIsNoWorker) {
  const SchedulerPlan plan = Schedule({{}, {Job("x", 1, 1)}});
  EXPECT_EQ(MessageOf(plan, "x"), "needs 1 cpu slot; no worker offers cpu");
}

TEST(Scheduler, SaysWhyWhatIsThereIsOfNoUse) {
  SchedulerSnapshot snapshot{{Host("a", {""})}, {Job("x", 1, 1)}};
  snapshot.queue[0].device = "cuda";
  snapshot.unfit["cuda"] = "GPU 0 of workers/a: its driver is too old";
  EXPECT_EQ(MessageOf(Schedule(snapshot), "x"),
            "needs 1 cuda slot; no worker offers cuda (GPU 0 of workers/a: its driver is too old)");
}

TEST(Scheduler, AJobTakesSlotsOfItsDeviceAloneAlsoOnOneWorker) {
  SchedulerSnapshot snapshot{{Host("a", {"", ""}), {"a", "cuda", 0, {{2, ""}, {3, "another"}}}},
                             {Job("x", 1, 1), Job("y", 2, 2), Job("z", 2, 3)}};
  snapshot.queue[0].device = snapshot.queue[1].device = "cuda";
  const SchedulerPlan plan = Schedule(snapshot);
  using Rank = std::pair<std::string, int32_t>;
  ASSERT_EQ(plan.starts.size(), 2u);
  EXPECT_EQ(plan.starts[0].ranks, (std::vector<Rank>{{"a", 2}}));
  EXPECT_EQ(plan.starts[1].ranks, (std::vector<Rank>{{"a", 0}, {"a", 1}}));
  EXPECT_THAT(MessageOf(plan, "y"), HasSubstr("another holds 1"));
}

TEST(Scheduler, PrefersOneWorkerThatFitsTightly) {
  const SchedulerPlan plan = Schedule(
      {{Host("large", {"", "", "", ""}), Host("tight", {"jobs/x", "", ""})}, {Job("y", 2, 1)}});
  ASSERT_EQ(plan.starts.size(), 1u);
  using Rank = std::pair<std::string, int32_t>;
  EXPECT_EQ(plan.starts[0].ranks, (std::vector<Rank>{{"tight", 1}, {"tight", 2}}));
}

TEST(Scheduler, SpansWorkersWithNeighbouringRanksTogether) {
  const SchedulerPlan plan = Schedule({{Host("a", {""}), Host("b", {"", ""})}, {Job("y", 3, 1)}});
  ASSERT_EQ(plan.starts.size(), 1u);
  using Rank = std::pair<std::string, int32_t>;
  EXPECT_EQ(plan.starts[0].ranks, (std::vector<Rank>{{"b", 0}, {"b", 1}, {"a", 0}}));
}

TEST(Scheduler, RestartWaitsForOldRanksAndKeepsItsPlace) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/x", ""})}, {Job("x", 1, 1), Job("y", 1, 2)}};
  snapshot.queue[0].ranks_still_running = 1;
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_TRUE(plan.starts.empty());
  EXPECT_EQ(plan.waits[0].reason, v1::JOB_REASON_RESTARTING);
  EXPECT_THAT(plan.waits[0].message, HasSubstr("1 rank of its last attempt has ended"));
}

TEST(Scheduler, SlotsWithoutEnoughMemoryDoNotCount) {
  SchedulerSnapshot snapshot{{Host("small", {""}, "cpu", 100), Host("large", {""}, "cpu", 200)},
                             {Job("x", 1, 1)}};
  snapshot.queue[0].memory = 150;
  const SchedulerPlan plan = Schedule(snapshot);
  ASSERT_EQ(plan.starts.size(), 1u);
  EXPECT_EQ(plan.starts[0].ranks[0].first, "large");
}

TEST(Scheduler, AgingAddsToThePriorityUpToALimit) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  SchedulerSnapshot snapshot{{Host("a", {""})}, {Job("patient", 1, 1), Job("urgent", 1, 2, 45)}};
  snapshot.now = now;
  snapshot.queue[0].queue_time = now - absl::Hours(4);
  snapshot.queue[1].queue_time = now;
  EXPECT_EQ(Started(Schedule(snapshot)), std::vector<std::string>{"urgent"}) << "45 against 40";
  snapshot.queue[0].queue_time = now - absl::Hours(5);
  EXPECT_EQ(Started(Schedule(snapshot)), std::vector<std::string>{"patient"}) << "45 against 50";
  EXPECT_DOUBLE_EQ(EffectivePriority(snapshot, snapshot.queue[0]), 50);
  snapshot.queue[0].queue_time = now - absl::Hours(24 * 365);
  EXPECT_DOUBLE_EQ(EffectivePriority(snapshot, snapshot.queue[0]), 500);
  snapshot.queue[1].priority = 501;
  EXPECT_EQ(Started(Schedule(snapshot)), std::vector<std::string>{"urgent"});
  snapshot.options.aging = 0;
  EXPECT_DOUBLE_EQ(EffectivePriority(snapshot, snapshot.queue[0]), 0);
}

TEST(Scheduler, SaysWhichWorkersWouldDoThatGetNothingNew) {
  SchedulerSnapshot snapshot{{Host("a", {""})}, {Job("x", 3, 1)}};
  snapshot.absent.push_back(
      {Host("b", {"", ""}), SchedulerSnapshot::Absence::kCordoned, "a new disk"});
  EXPECT_EQ(MessageOf(Schedule(snapshot), "x"),
            "needs 3 cpu slots; the cluster has 1 cpu slot; 2 on the cordoned workers/b");
}

TEST(Quotas, HoldJobsWithALabelToTheirShare) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/running", "", "", ""})},
                             {Job("red", 2, 1), Job("blue", 1, 2), Job("later", 1, 3)}};
  snapshot.options.quotas = ParseQuotas({"team=red:2", "team=*:1"}).value();
  snapshot.holding = {Holding("running", 1)};
  snapshot.holding[0].labels = {{"team", "red"}};
  snapshot.queue[0].labels = {{"team", "red"}};
  snapshot.queue[1].labels = {{"team", "blue"}};
  snapshot.queue[2].labels = {{"team", "blue"}};
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_EQ(Started(plan), std::vector<std::string>{"blue"}) << "each team has a share of its own";
  ASSERT_EQ(plan.waits.size(), 2u);
  EXPECT_EQ(plan.waits[0].reason, v1::JOB_REASON_WAITING_FOR_QUOTA);
  EXPECT_EQ(MessageOf(plan, "red"),
            "needs 2 cpu slots; jobs with team=red hold 1 of the 2 slots that they may hold "
            "together");
  EXPECT_EQ(MessageOf(plan, "later"),
            "needs 1 cpu slot; jobs with team=blue hold 1 of the 1 slot that they may hold "
            "together");
}

TEST(Quotas, NobodyOfTheSameLabelPassesAJobThatWaitsForItsQuota) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/running", "", "", ""})},
                             {Job("big", 2, 1), Job("small", 1, 2), Job("other", 1, 3)}};
  snapshot.options.quotas = ParseQuotas({"team=red:2"}).value();
  snapshot.holding = {Holding("running", 1)};
  snapshot.holding[0].labels = snapshot.queue[0].labels =
      snapshot.queue[1].labels = {{"team", "red"}};
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_EQ(Started(plan), std::vector<std::string>{"other"});
  EXPECT_THAT(MessageOf(plan, "small"), HasSubstr("after jobs/big"));
}

TEST(Quotas, AJobWaitsInTheLineOfEachFullQuota) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/red", "jobs/ann", "", "", ""})},
                             {Job("both", 2, 1), Job("of-ann", 1, 2), Job("other", 1, 3)}};
  snapshot.options.quotas = ParseQuotas({"team=red:2", "user=ann:2"}).value();
  snapshot.holding = {Holding("red", 1), Holding("ann", 1)};
  snapshot.holding[0].labels = {{"team", "red"}};
  snapshot.holding[1].labels = snapshot.queue[1].labels = {{"user", "ann"}};
  snapshot.queue[0].labels = {{"team", "red"}, {"user", "ann"}};
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_EQ(Started(plan), std::vector<std::string>{"other"});
  EXPECT_THAT(MessageOf(plan, "of-ann"), HasSubstr("after jobs/both"));
}

TEST(Quotas, AJobThatNeverFitsHoldsNobodyUp) {
  SchedulerSnapshot snapshot{{Host("a", {"", "", ""})}, {Job("big", 3, 1), Job("small", 1, 2)}};
  snapshot.options.quotas = ParseQuotas({"team=*:2"}).value();
  snapshot.queue[0].labels = snapshot.queue[1].labels = {{"team", "red"}};
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_EQ(Started(plan), std::vector<std::string>{"small"});
  EXPECT_THAT(MessageOf(plan, "big"), HasSubstr("it will never start"));
}

TEST(Quotas, AreReadOrRefusedWithTheReason) {
  const auto quotas = ParseQuotas({"team=red:4", "team=*:2", "user=a.b-c_1:0"});
  ASSERT_TRUE(quotas.ok());
  EXPECT_EQ((*quotas)[1].value, "*");
  EXPECT_EQ((*quotas)[2].slots, 0);
  for (const char* bad : {"", "team", "team=red", "team=red:", "team=red:-1", "team=red:two",
                          "=red:2", "team=:2", "team:2=red", "te am=red:2", "team=red:99999999",
                          "team=red:2.5", "team=red:2 ", "*=red:2"}) {
    const auto refused = ParseQuotas({bad});
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << bad;
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("KEY=VALUE:SLOTS")) << bad;
  }
  EXPECT_THAT(ParseQuotas({"a=b:1", "a=b:2"}).status().ToString(), HasSubstr("twice for a=b"));
}

}  // namespace
}  // namespace wavefield::coordinator
