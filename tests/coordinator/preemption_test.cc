// Which running jobs make room for one that comes first by far.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/quotas.h"
#include "coordinator/scheduler/scheduler.h"
#include "tests/coordinator/scheduler_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<std::string> Victims(const SchedulerPlan& plan) {
  std::vector<std::string> victims;
  for (const auto& preemption : plan.preemptions) {
    victims.insert(victims.end(), preemption.victims.begin(), preemption.victims.end());
  }
  return victims;
}

TEST(Preemption, TakesFromThoseThatAreLowerByTheMarginAlone) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/low"})}, {Job("high", 1, 9, 100)}};
  snapshot.holding = {Holding("low", 1, 1)};
  EXPECT_THAT(Victims(Schedule(snapshot)), IsEmpty()) << "99 is not enough";
  snapshot.holding[0].priority = 0;
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_THAT(Victims(plan), ElementsAre("low"));
  EXPECT_THAT(plan.starts, IsEmpty()) << "its slots are not free yet";
  snapshot.options.preemption_margin = 0;
  EXPECT_THAT(Victims(Schedule(snapshot)), IsEmpty()) << "0 is never";
}

TEST(Preemption, GoesByThePriorityItWasGivenAndNotByItsAge) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/low"})}, {Job("patient", 1, 1, 0)}};
  snapshot.now = absl::FromUnixSeconds(1'700'000'000);
  snapshot.queue[0].queue_time = snapshot.now - absl::Hours(100);
  snapshot.holding = {Holding("low", 1, -50)};
  EXPECT_DOUBLE_EQ(EffectivePriority(snapshot, snapshot.queue[0]), 500);
  EXPECT_THAT(Victims(Schedule(snapshot)), IsEmpty());
}

TEST(Preemption, TheLeastLostWorkGoesFirstThenTheLowestPriority) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/x", "jobs/y", "jobs/z"})}, {Job("h", 1, 9, 500)}};
  snapshot.holding = {Holding("x", 1, 0, 7200), Holding("y", 1, 200, 600),
                      Holding("z", 1, 100, 630)};
  EXPECT_THAT(Victims(Schedule(snapshot)), ElementsAre("z")) << "10 slot-minutes, as y; lower";
  snapshot.holding[2].lost_work = 661;
  EXPECT_THAT(Victims(Schedule(snapshot)), ElementsAre("y"));
}

TEST(Preemption, TakesWholeGangsAndOnlyThoseThatAreNeeded) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/one", "jobs/two", "jobs/two", "jobs/four"}),
                              Host("b", {"jobs/four", "jobs/four", "jobs/four", ""})},
                             {Job("h", 4, 9, 500)}};
  snapshot.holding = {Holding("one", 1, 0, 0), Holding("two", 2, 0, 60),
                      Holding("four", 4, 0, 6000)};
  EXPECT_THAT(Victims(Schedule(snapshot)), UnorderedElementsAre("one", "two"));
  snapshot.queue[0].world_size = 5;
  EXPECT_THAT(Victims(Schedule(snapshot)), ElementsAre("four")) << "the others are spared then";
}

TEST(Preemption, IsOnlyDoneIfTheJobCanStartThen) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/low", "jobs/peer"})}, {Job("h", 2, 9, 500)}};
  snapshot.holding = {Holding("low", 1, 0), Holding("peer", 1, 450)};
  EXPECT_THAT(Victims(Schedule(snapshot)), IsEmpty()) << "peer stays";
  snapshot.hosts.push_back(Host("b", {"an evaluation"}));
  EXPECT_THAT(Victims(Schedule(snapshot)), IsEmpty()) << "nobody knows when that ends";
  snapshot.hosts.push_back(Host("c", {""}));
  EXPECT_THAT(Victims(Schedule(snapshot)), ElementsAre("low"));
}

TEST(Preemption, WhatEndsByItselfIsEnough) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/ends", "jobs/low"})}, {Job("h", 1, 9, 500)}};
  snapshot.holding = {Holding("ends", 1, 400), Holding("low", 1, 0)};
  snapshot.holding[0].ending = true;
  EXPECT_THAT(Victims(Schedule(snapshot)), IsEmpty());
  snapshot.queue[0].world_size = 2;
  EXPECT_THAT(Victims(Schedule(snapshot)), ElementsAre("low"));
}

TEST(Preemption, OneThatHasToWaitForItsTurnTakesNothing) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/low", "jobs/low"})},
                             {Job("first", 2, 1, 99), Job("h", 1, 9, 98)}};
  snapshot.options.preemption_margin = 98;
  snapshot.holding = {Holding("low", 2, 0)};
  const SchedulerPlan plan = Schedule(snapshot);
  ASSERT_EQ(plan.preemptions.size(), 1u);
  EXPECT_EQ(plan.preemptions[0].job, "first");
}

TEST(Preemption, FreedSlotsAreKeptForTheJobTheyWereFreedFor) {
  SchedulerSnapshot snapshot{{Host("a", {"", "jobs/low"})},
                             {Job("h", 2, 5, 200), Job("newer", 1, 6, 299)}};
  snapshot.holding = {Holding("low", 1, 0)};
  snapshot.holding[0].ending = true;
  snapshot.queue[0].preempts = {"gone", "low"};
  const SchedulerPlan plan = Schedule(snapshot);
  EXPECT_THAT(plan.starts, IsEmpty()) << "one of two slots is free, and it is not for newer";
  EXPECT_THAT(plan.preemptions, IsEmpty());
  snapshot.queue[1].priority = 300;
  ASSERT_EQ(Schedule(snapshot).starts.size(), 1u) << "that one would take them from it anyway";
  EXPECT_EQ(Schedule(snapshot).starts[0].job, "newer");
  snapshot.queue[1].priority = 299;
  snapshot.hosts[0].slots[1].holder.clear();
  snapshot.holding.clear();
  ASSERT_EQ(Schedule(snapshot).starts.size(), 1u);
  EXPECT_EQ(Schedule(snapshot).starts[0].job, "h");
}

TEST(Preemption, MakesRoomInAQuotaToo) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/low", "jobs/other", ""})}, {Job("h", 1, 9, 500)}};
  snapshot.options.quotas = ParseQuotas({"team=red:1"}).value();
  snapshot.holding = {Holding("low", 1, 0, 9000), Holding("other", 1, 0, 0)};
  snapshot.holding[0].labels = snapshot.queue[0].labels = {{"team", "red"}};
  EXPECT_THAT(Victims(Schedule(snapshot)), ElementsAre("low")) << "other is not of that team";
}

TEST(Preemption, TwoJobsDoNotTakeTheSameSlots) {
  SchedulerSnapshot snapshot{{Host("a", {"jobs/c"}), Host("b", {"jobs/g"}, "cuda")},
                             {Job("h", 1, 1, 500), Job("i", 1, 2, 500)}};
  snapshot.queue[1].device = "cuda";
  snapshot.holding = {Holding("c", 1, 0), Holding("g", 1, 0)};
  const SchedulerPlan plan = Schedule(snapshot);
  ASSERT_EQ(plan.preemptions.size(), 2u);
  EXPECT_THAT(plan.preemptions[0].victims, ElementsAre("c"));
  EXPECT_THAT(plan.preemptions[1].victims, ElementsAre("g"));
}

}  // namespace
}  // namespace wavefield::coordinator
