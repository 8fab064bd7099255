// What holds of every plan, on random snapshots and over random lives of a cluster.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "coordinator/scheduler/capacity.h"
#include "coordinator/scheduler/quotas.h"
#include "coordinator/scheduler/scheduler.h"
#include "tests/coordinator/scheduler_fixtures.h"

namespace wavefield::coordinator {
namespace {

using Labels = SchedulerSnapshot::Labels;

class SchedulerLaws : public testing::Test {
 protected:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  bool OneIn(int count) { return Below(count) == 0; }

  Labels RandomLabels() {
    return OneIn(2) ? Labels{}
                    : Labels{{"team", std::string(1, static_cast<char>('a' + Below(3)))}};
  }

  SchedulerSnapshot::QueuedJob RandomJob(const std::string& id) {
    SchedulerSnapshot::QueuedJob job = Job(id, 1 + Below(6), Below(1000), 100 * Below(4));
    job.device = OneIn(3) ? "cuda" : "cpu";
    job.memory = OneIn(4) ? 150 : 50;
    job.labels = RandomLabels();
    job.queue_time = now_ - absl::Minutes(Below(600));
    return job;
  }

  SchedulerSnapshot RandomSnapshot() {
    SchedulerSnapshot snapshot;
    snapshot.now = now_;
    snapshot.options.preemption_margin = 100 * Below(3);
    if (OneIn(2)) snapshot.options.quotas = ParseQuotas({"team=a:3", "team=*:5"}).value();
    const int holding = Below(8);
    std::map<std::string, int64_t> held;
    for (int worker = Below(5); worker >= 0; --worker) {
      std::vector<std::string> holders;
      for (int slot = Below(6); slot >= 0; --slot) {
        if (holding == 0 || OneIn(2)) {
          holders.push_back(OneIn(8) ? "an evaluation" : "");
        } else {
          holders.push_back("jobs/h" + std::to_string(Below(holding)));
          ++held[holders.back().substr(5)];
        }
      }
      snapshot.hosts.push_back(Host("w" + std::to_string(worker), holders,
                                    OneIn(3) ? "cuda" : "cpu", OneIn(2) ? 100 : 200));
    }
    for (const auto& [id, slots] : held) {
      auto& job = snapshot.holding.emplace_back(Holding(id, slots, 100 * Below(4), Below(5000)));
      job.ending = OneIn(4);
      job.labels = RandomLabels();
    }
    for (int i = Below(12); i >= 0; --i) {
      snapshot.queue.push_back(RandomJob("q" + std::to_string(i)));
      if (OneIn(10)) snapshot.queue.back().preempts = {"h0"};
      if (OneIn(10)) snapshot.queue.back().ranks_still_running = 1;
    }
    return snapshot;
  }

  static void Begin(SchedulerSnapshot& snapshot, const SchedulerPlan::Start& start) {
    const SchedulerSnapshot::QueuedJob job = Find(snapshot, start.job);
    for (auto& host : snapshot.hosts) {
      for (auto& slot : host.slots) {
        const SlotOfRank place{host.worker, slot.index};
        const bool taken =
            std::find(start.ranks.begin(), start.ranks.end(), place) != start.ranks.end();
        if (taken) slot.holder = "jobs/" + job.id;
      }
    }
    snapshot.holding.push_back(Holding(job.id, job.world_size, job.priority));
    snapshot.holding.back().labels = job.labels;
    std::erase_if(snapshot.queue, [&](const auto& queued) { return queued.id == job.id; });
  }

  static const SchedulerSnapshot::QueuedJob& Find(const SchedulerSnapshot& snapshot,
                                                  const std::string& id) {
    return *std::find_if(snapshot.queue.begin(), snapshot.queue.end(),
                         [&](const auto& job) { return job.id == id; });
  }

  const unsigned seed_ = std::random_device()();
  std::mt19937 random_{seed_};
  const testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

TEST_F(SchedulerLaws, EveryJobStartsWholeOnFreeSlotsThatSuitItOrIsToldWhyNot) {
  for (int round = 0; round < 1000; ++round) {
    const SchedulerSnapshot snapshot = RandomSnapshot();
    std::map<SlotOfRank, const SchedulerSnapshot::Host*> free;
    for (const auto& host : snapshot.hosts) {
      for (const auto& slot : host.slots) {
        if (slot.holder.empty()) free[{host.worker, slot.index}] = &host;
      }
    }
    const SchedulerPlan plan = Schedule(snapshot);
    std::set<std::string> decided;
    for (const auto& start : plan.starts) {
      const auto& job = Find(snapshot, start.job);
      EXPECT_TRUE(decided.insert(start.job).second);
      EXPECT_EQ(start.ranks.size(), static_cast<size_t>(job.world_size));
      EXPECT_EQ(job.ranks_still_running, 0);
      for (const SlotOfRank& rank : start.ranks) {
        const auto slot = free.find(rank);
        ASSERT_NE(slot, free.end()) << "given twice, or held";
        EXPECT_TRUE(Suits(*slot->second, job));
        free.erase(slot);
      }
    }
    for (const auto& wait : plan.waits) {
      EXPECT_TRUE(decided.insert(wait.job).second);
      EXPECT_FALSE(wait.message.empty());
      EXPECT_NE(wait.reason, v1::JOB_REASON_UNSPECIFIED);
    }
    EXPECT_EQ(decided.size(), snapshot.queue.size());
  }
}

TEST_F(SchedulerLaws, NoQuotaIsExceededByAStart) {
  for (int round = 0; round < 1000; ++round) {
    const SchedulerSnapshot snapshot = RandomSnapshot();
    QuotaUse use(snapshot);
    for (const auto& start : Schedule(snapshot).starts) {
      const auto& job = Find(snapshot, start.job);
      use.Add(job.labels, job.world_size);
      for (const auto& bound : use.BoundsOf(job.labels)) EXPECT_LE(use.Used(bound), bound.limit);
    }
  }
}

TEST_F(SchedulerLaws, VictimsAreRunningLowerByTheMarginAndMakeTheJobStartable) {
  int preemptions = 0;
  for (int round = 0; round < 2000; ++round) {
    SchedulerSnapshot snapshot = RandomSnapshot();
    const SchedulerPlan plan = Schedule(snapshot);
    std::set<std::string> victims;
    for (const auto& preemption : plan.preemptions) {
      ++preemptions;
      ASSERT_GT(snapshot.options.preemption_margin, 0);
      EXPECT_FALSE(preemption.victims.empty());
      for (const std::string& id : preemption.victims) {
        const auto victim = std::find_if(snapshot.holding.begin(), snapshot.holding.end(),
                                         [&](const auto& holding) { return holding.id == id; });
        ASSERT_NE(victim, snapshot.holding.end());
        EXPECT_FALSE(victim->ending);
        EXPECT_LE(victim->priority + snapshot.options.preemption_margin,
                  Find(snapshot, preemption.job).priority);
        EXPECT_TRUE(victims.insert(id).second) << "of two jobs";
      }
    }
    // When those that start have started, and all of these and those that end are gone, the job
    // starts too; nobody is asked a second time.
    for (const auto& start : plan.starts) Begin(snapshot, start);
    for (auto& holding : snapshot.holding) holding.ending |= victims.contains(holding.id);
    for (const auto& preemption : plan.preemptions) {
      for (auto& job : snapshot.queue) {
        if (job.id == preemption.job) job.preempts = preemption.victims;
      }
    }
    for (const auto& second : Schedule(snapshot).preemptions) {
      for (const auto& first : plan.preemptions) EXPECT_NE(second.job, first.job);
      for (const auto& start : plan.starts) {
        EXPECT_EQ(std::count(second.victims.begin(), second.victims.end(), start.job), 0)
            << start.job << " should not have been started";
      }
    }
    std::set<std::string> gone;
    std::erase_if(snapshot.holding, [&](const auto& holding) {
      if (holding.ending) gone.insert("jobs/" + holding.id);
      return holding.ending;
    });
    for (auto& host : snapshot.hosts) {
      for (auto& slot : host.slots) {
        if (gone.contains(slot.holder)) slot.holder.clear();
      }
    }
    if (plan.preemptions.size() != 1) continue;
    // Or one that comes before it has got so far by what became free.
    bool started = false;
    for (const Decision& decision : Arrange(snapshot)) {
      started |= decision.verdict == Decision::Verdict::kStarts;
      if (decision.job->id != plan.preemptions[0].job) continue;
      started |= decision.verdict == Decision::Verdict::kWaitsForTurn;
      break;
    }
    EXPECT_TRUE(started) << plan.preemptions[0].job;
  }
  EXPECT_GT(preemptions, 20);
}

TEST_F(SchedulerLaws, ThePlanDoesNotDependOnTheOrderOfTheLists) {
  for (int round = 0; round < 300; ++round) {
    SchedulerSnapshot snapshot = RandomSnapshot();
    const SchedulerPlan plan = Schedule(snapshot);
    std::shuffle(snapshot.queue.begin(), snapshot.queue.end(), random_);
    std::shuffle(snapshot.holding.begin(), snapshot.holding.end(), random_);
    const SchedulerPlan again = Schedule(snapshot);
    ASSERT_EQ(plan.starts.size(), again.starts.size());
    ASSERT_EQ(plan.waits.size(), again.waits.size());
    ASSERT_EQ(plan.preemptions.size(), again.preemptions.size());
    for (size_t i = 0; i < plan.starts.size(); ++i) {
      EXPECT_EQ(plan.starts[i].job, again.starts[i].job);
      EXPECT_EQ(plan.starts[i].ranks, again.starts[i].ranks);
    }
    for (size_t i = 0; i < plan.waits.size(); ++i) {
      EXPECT_EQ(plan.waits[i].job, again.waits[i].job);
      EXPECT_EQ(plan.waits[i].message, again.waits[i].message);
    }
    for (size_t i = 0; i < plan.preemptions.size(); ++i) {
      EXPECT_EQ(plan.preemptions[i].victims, again.preemptions[i].victims);
    }
  }
}

// A cluster of one worker in which jobs run for some ticks; what is preempted needs one tick for
// its checkpoint, and joins the queue anew.
class Life {
 public:
  explicit Life(int slots) { snapshot_.hosts = {Host("w", std::vector<std::string>(slots))}; }

  void Submit(SchedulerSnapshot::QueuedJob job, int ticks) {
    job.queue_time = snapshot_.now;
    job.age = ++submitted_;
    ticks_[job.id] = ticks;
    snapshot_.queue.push_back(std::move(job));
  }

  void Tick() {
    const SchedulerPlan plan = Schedule(snapshot_);
    for (const auto& start : plan.starts) Start(start);
    for (const auto& preemption : plan.preemptions) {
      ++preemptions;
      for (auto& job : snapshot_.queue) {
        if (job.id == preemption.job) job.preempts = preemption.victims;
      }
      for (auto& job : snapshot_.holding) {
        const auto& victims = preemption.victims;
        job.ending |= std::find(victims.begin(), victims.end(), job.id) != victims.end();
      }
    }
    snapshot_.now += absl::Minutes(10);
    std::erase_if(snapshot_.holding, [&](const auto& job) {
      const bool done = --ticks_[job.id] <= 0;
      if (!done && !job.ending) return false;
      for (auto& slot : snapshot_.hosts[0].slots) {
        if (slot.holder == "jobs/" + job.id) slot.holder.clear();
      }
      if (!done) {
        SchedulerSnapshot::QueuedJob again = running_.at(job.id);
        again.queue_time = snapshot_.now;
        snapshot_.queue.push_back(again);
      }
      running_.erase(job.id);
      return true;
    });
  }

  bool IsQueued(const std::string& id) const {
    return std::any_of(snapshot_.queue.begin(), snapshot_.queue.end(),
                       [&](const auto& job) { return job.id == id; });
  }
  bool empty() const { return snapshot_.queue.empty() && snapshot_.holding.empty(); }
  SchedulerOptions& options() { return snapshot_.options; }

  int preemptions = 0;

 private:
  void Start(const SchedulerPlan::Start& start) {
    const auto queued = std::find_if(snapshot_.queue.begin(), snapshot_.queue.end(),
                                     [&](const auto& job) { return job.id == start.job; });
    for (const auto& [worker, slot] : start.ranks) {
      snapshot_.hosts[0].slots[static_cast<size_t>(slot)].holder = "jobs/" + start.job;
    }
    auto& job = snapshot_.holding.emplace_back(
        Holding(start.job, queued->world_size, queued->priority, 60.0 * ticks_[start.job]));
    job.labels = queued->labels;
    queued->preempts.clear();
    running_[start.job] = *queued;
    snapshot_.queue.erase(queued);
  }

  SchedulerSnapshot snapshot_;
  std::map<std::string, SchedulerSnapshot::QueuedJob> running_;
  std::map<std::string, int> ticks_;
  int64_t submitted_ = 0;
};

TEST_F(SchedulerLaws, ALargeJobIsNotPassedByForeverByAStreamOfSmallOnes) {
  for (int round = 0; round < 20; ++round) {
    Life life(8);
    if (OneIn(2)) life.options().preemption_margin = 0;
    constexpr int kLongest = 10;
    const auto submit_small = [&](int tick) {
      for (int i = Below(4); i >= 0; --i) {
        const std::string id = "s" + std::to_string(tick) + "-" + std::to_string(i);
        life.Submit(Job(id, 1 + Below(2), 0), 1 + Below(kLongest));
      }
    };
    for (int tick = 0; tick < 20; ++tick) {
      submit_small(tick);
      life.Tick();
    }
    life.Submit(Job("large", 8, 0, 99), 5);
    int waited = 0;
    for (; life.IsQueued("large") && waited < 1000; ++waited) {
      submit_small(100 + waited);
      life.Tick();
    }
    EXPECT_LE(waited, kLongest + 1);
  }
}

TEST_F(SchedulerLaws, ALowPriorityIsServedInTheEndBecauseItAges) {
  Life life(1);
  life.options().preemption_margin = 0;
  life.Submit(Job("low", 1, 0, -40), 1);
  int waited = 0;
  for (; life.IsQueued("low") && waited < 1000; ++waited) {
    life.Submit(Job("n" + std::to_string(waited), 1, 0, 0), 1);
    life.Tick();
  }
  // 40 points at 10 an hour are 24 ticks of 10 minutes; then those that are older still come first.
  EXPECT_GE(waited, 24);
  EXPECT_LT(waited, 1000);
}

TEST_F(SchedulerLaws, PreemptionComesToAnEndAndEverybodyFinishes) {
  for (int round = 0; round < 50; ++round) {
    Life life(6);
    const int jobs = 5 + Below(30);
    for (int i = 0; i < jobs; ++i) {
      life.Submit(Job("j" + std::to_string(i), 1 + Below(6), 0, 100 * Below(4)), 1 + Below(20));
      if (OneIn(2)) life.Tick();
    }
    int ticks = 0;
    for (; !life.empty() && ticks < 5000; ++ticks) life.Tick();
    EXPECT_TRUE(life.empty()) << "after " << ticks << " ticks";
    EXPECT_LE(life.preemptions, 3 * jobs) << "a job is moved away by higher ones alone";
  }
}

}  // namespace
}  // namespace wavefield::coordinator
