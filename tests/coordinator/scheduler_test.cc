#include "coordinator/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

SchedulerSnapshot::Host Host(const std::string& worker, const std::vector<std::string>& holders,
                             const std::string& device = "cpu", int64_t memory = 0) {
  SchedulerSnapshot::Host host{worker, device, memory, {}};
  for (const std::string& holder : holders) {
    host.slots.push_back({static_cast<int32_t>(host.slots.size()), holder});
  }
  return host;
}

SchedulerSnapshot::QueuedJob Job(const std::string& id, int world_size, int64_t age,
                                 int priority = 0) {
  SchedulerSnapshot::QueuedJob job;
  job.id = id;
  job.world_size = world_size;
  job.age = age;
  job.priority = priority;
  job.device = "cpu";
  return job;
}

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

TEST(Scheduler, RandomSnapshotsNeverDoubleBookOrSplitGangs) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](int bound) {
    return static_cast<int>(random() % static_cast<unsigned>(bound));
  };
  for (int round = 0; round < 500; ++round) {
    SchedulerSnapshot snapshot;
    std::map<std::string, std::set<int32_t>> free;
    for (int host = below(5); host >= 0; --host) {
      std::vector<std::string> holders;
      for (int slot = below(6); slot >= 0; --slot)
        holders.push_back(below(3) == 0 ? "jobs/held" : "");
      const std::string name = "w" + std::to_string(host);
      snapshot.hosts.push_back(Host(name, holders, below(3) == 0 ? "cuda" : "cpu"));
      for (const auto& slot : snapshot.hosts.back().slots) {
        if (slot.holder.empty()) free[name].insert(slot.index);
      }
    }
    const int jobs = below(12);
    for (int i = 0; i < jobs; ++i) {
      snapshot.queue.push_back(Job("j" + std::to_string(i), 1 + below(8), below(100), below(3)));
      snapshot.queue.back().device = below(3) == 0 ? "cuda" : "cpu";
      snapshot.queue.back().ranks_still_running = below(6) == 0 ? 1 : 0;
    }
    const SchedulerPlan plan = Schedule(snapshot);
    EXPECT_EQ(plan.starts.size() + plan.waits.size(), snapshot.queue.size());
    std::map<std::string, std::string> device_of;
    for (const auto& host : snapshot.hosts) device_of[host.worker] = host.device;
    for (const auto& start : plan.starts) {
      const auto job = std::find_if(snapshot.queue.begin(), snapshot.queue.end(),
                                    [&](const auto& queued) { return queued.id == start.job; });
      ASSERT_NE(job, snapshot.queue.end());
      EXPECT_EQ(start.ranks.size(), static_cast<size_t>(job->world_size));
      EXPECT_EQ(job->ranks_still_running, 0);
      for (const auto& [worker, slot] : start.ranks) {
        EXPECT_EQ(free[worker].erase(slot), 1u) << worker << " slot " << slot << " given twice";
        EXPECT_EQ(device_of[worker], job->device);
      }
    }
    for (const auto& wait : plan.waits) EXPECT_FALSE(wait.message.empty());
  }
}

}  // namespace
}  // namespace wavefield::coordinator
