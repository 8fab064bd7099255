// Why jobs wait: each reason there is, with its numbers.
#include "coordinator/explain/blockers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "coordinator/jobs/timestamps.h"
#include "coordinator/scheduler/forecast.h"
#include "coordinator/scheduler/quotas.h"
#include "core/base/check.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/coordinator/scheduler_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using v1::Blocker;

constexpr int64_t kGib = int64_t{1} << 30;

std::vector<std::string> Resources(const Blocker& blocker) {
  return {blocker.resources().begin(), blocker.resources().end()};
}

// The job "x" needs four slots of the CPU.
class Blockers : public testing::Test {
 protected:
  Blockers() {
    snapshot_.now = absl::FromCivil(absl::CivilMinute(2026, 5, 17, 13, 50), absl::UTCTimeZone());
    snapshot_.queue = {Job("x", 4, 10)};
  }

  SchedulerSnapshot::QueuedJob& job() { return snapshot_.queue[0]; }

  // Of the job, which is in the queue. Refers to the snapshot.
  Decision Decided() const {
    const std::vector<Decision> decisions = Arrange(snapshot_);
    const auto found = std::find_if(decisions.begin(), decisions.end(),
                                    [](const Decision& d) { return d.job->id == "x"; });
    WF_CHECK(found != decisions.end());
    return *found;
  }
  std::vector<Blocker> Explain() const {
    return BlockersOf(snapshot_, ForecastStarts(snapshot_), Decided());
  }
  // The only one.
  Blocker Only() {
    const auto blockers = Explain();
    EXPECT_EQ(blockers.size(), 1u);
    return blockers.empty() ? Blocker() : blockers[0];
  }
  std::string Summary() const { return SummaryOf(Decided(), Explain()); }

  static void ExpectNumbers(const Blocker& blocker, Blocker::Kind kind, int64_t needed,
                            int64_t available, int64_t blocked) {
    EXPECT_EQ(blocker.kind(), kind) << blocker.ShortDebugString();
    EXPECT_EQ(blocker.needed(), needed) << blocker.ShortDebugString();
    EXPECT_EQ(blocker.available(), available) << blocker.ShortDebugString();
    EXPECT_EQ(blocker.blocked(), blocked) << blocker.ShortDebugString();
    EXPECT_FALSE(blocker.message().empty());
  }

  SchedulerSnapshot snapshot_;
};

TEST_F(Blockers, NothingIsInTheWayOfAJobThatStarts) {
  snapshot_.hosts = {Host("a", {"", "", "", ""})};
  EXPECT_TRUE(Explain().empty());
}

TEST_F(Blockers, SlotsThatAJobHoldsWithItsExpectedEnd) {
  snapshot_.hosts = {Host("a", {"jobs/j-17", "jobs/j-17", "", ""}), Host("b", {"jobs/k", ""})};
  snapshot_.holding = {Holding("j-17", 2), Holding("k", 1)};
  snapshot_.holding[0].expected_end = snapshot_.now + absl::Minutes(30);
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 2u);
  ExpectNumbers(blockers[0], Blocker::SLOTS_HELD, 4, 3, 2);
  EXPECT_THAT(Resources(blockers[0]), ElementsAre("jobs/j-17"));
  EXPECT_EQ(FromTimestamp(blockers[0].expected_end()), snapshot_.now + absl::Minutes(30));
  EXPECT_EQ(blockers[0].message(), "jobs/j-17 holds 2 slots and should end about 14:20 UTC");
  ExpectNumbers(blockers[1], Blocker::SLOTS_HELD, 4, 3, 1);
  EXPECT_FALSE(blockers[1].has_expected_end());
  EXPECT_EQ(Summary(),
            "needs 4 cpu slots, 3 of 6 free; jobs/j-17 holds 2 slots and should end about 14:20 "
            "UTC; jobs/k holds 1 slot; when it ends cannot be told");
}

TEST_F(Blockers, ManyHoldersAreSummedUp) {
  for (int i = 0; i < 14; ++i) {
    const std::string id = "h" + std::to_string(i);
    snapshot_.hosts.push_back(Host("w" + std::to_string(i), {"jobs/" + id}));
    snapshot_.holding.push_back(Holding(id, 1));
  }
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 11u);
  ExpectNumbers(blockers[10], Blocker::SLOTS_HELD, 4, 0, 4);
  EXPECT_EQ(blockers[10].message(), "4 others hold 4 slots");
}

TEST_F(Blockers, SlotsThatInferenceHolds) {
  snapshot_.hosts = {Host("a", {"an evaluation", "", "", ""})};
  ExpectNumbers(Only(), Blocker::SLOTS_HELD_BY_INFERENCE, 4, 3, 1);
}

TEST_F(Blockers, AGpuThatAnotherProcessUses) {
  job() = Job("x", 2, 10);
  job().device = "cuda";
  snapshot_.hosts = {Host("a", {"another process on workers/a", ""}, "cuda")};
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::DEVICE_UNFIT, 2, 1, 1);
  EXPECT_THAT(Resources(blocker), ElementsAre("workers/a"));
}

TEST_F(Blockers, AWorkerThatIsCordonedWhileOthersHaveTooFew) {
  snapshot_.hosts = {Host("a", {"", "", ""})};
  snapshot_.absent = {{Host("b", {""}), SchedulerSnapshot::Absence::kCordoned, "a new disk"}};
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::WORKER_CORDONED, 4, 3, 1);
  EXPECT_THAT(Resources(blocker), ElementsAre("workers/b"));
  EXPECT_EQ(blocker.message(), "1 slot is on the cordoned workers/b (a new disk)");
}

TEST_F(Blockers, AWorkerThatIsDrainedBesideSlotsThatAreHeld) {
  snapshot_.hosts = {Host("a", {"jobs/k", "jobs/k", "", ""})};
  snapshot_.holding = {Holding("k", 2)};
  snapshot_.absent = {{Host("b", {"", ""}), SchedulerSnapshot::Absence::kDraining, ""}};
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 2u);
  ExpectNumbers(blockers[0], Blocker::SLOTS_HELD, 4, 2, 2);
  ExpectNumbers(blockers[1], Blocker::WORKER_CORDONED, 4, 2, 2);
  EXPECT_EQ(blockers[1].message(), "2 slots are on the drained workers/b");
}

TEST_F(Blockers, AWorkerThatIsLost) {
  snapshot_.absent = {
      {Host("b", {"jobs/k", "", "", "", ""}), SchedulerSnapshot::Absence::kLost, ""}};
  ExpectNumbers(Only(), Blocker::WORKER_LOST, 4, 0, 5);
}

TEST_F(Blockers, AWorkerThatIsAboutToEnd) {
  snapshot_.hosts = {Host("a", {"", ""})};
  snapshot_.absent = {{Host("b", {"", ""}), SchedulerSnapshot::Absence::kEnding, ""}};
  ExpectNumbers(Only(), Blocker::WORKER_ENDING, 4, 2, 2);
}

TEST_F(Blockers, NoWorkerForTheDevice) {
  snapshot_.hosts = {Host("a", {"", "", "", ""})};
  job().device = "cuda";
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::NO_WORKER, 4, 0, 4);
  EXPECT_EQ(blocker.message(), "no worker offers cuda slots");
}

TEST_F(Blockers, AGpuThatIsThereAndOfNoUse) {
  snapshot_.hosts = {Host("a", {"", "", "", ""})};
  job().device = "cuda";
  snapshot_.unfit["cuda"] = "GPU 0 of workers/a: its driver is too old";
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::DEVICE_UNFIT, 4, 0, 1);
  EXPECT_EQ(blocker.message(), "GPU 0 of workers/a: its driver is too old");
}

TEST_F(Blockers, TooFewSlotsInAllOfTheCluster) {
  snapshot_.hosts = {Host("a", {"jobs/k", ""})};
  snapshot_.absent = {{Host("b", {""}), SchedulerSnapshot::Absence::kLost, ""}};
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 2u);
  ExpectNumbers(blockers[0], Blocker::TOO_FEW_SLOTS, 4, 3, 1);
  EXPECT_EQ(blockers[0].message(), "all workers together offer 3 cpu slots");
  ExpectNumbers(blockers[1], Blocker::WORKER_LOST, 4, 1, 1);
}

TEST_F(Blockers, SlotsThatAreTooSmall) {
  snapshot_.hosts = {Host("a", {"", "", ""}, "cpu", 2 * kGib), Host("b", {""}, "cpu", 8 * kGib)};
  job().memory = 4 * kGib;
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 2u);
  ExpectNumbers(blockers[0], Blocker::TOO_FEW_SLOTS, 4, 1, 3);
  ExpectNumbers(blockers[1], Blocker::TOO_LITTLE_MEMORY, 4 * kGib, 2 * kGib, 3);
  EXPECT_EQ(blockers[1].message(),
            "3 slots are too small: a rank needs 4.0 GiB, the largest of them has 2.0 GiB");
}

TEST_F(Blockers, AnEarlierJobThatWaitsForSlots) {
  snapshot_.hosts = {Host("a", {"jobs/k", "", "", "", ""})};
  snapshot_.holding = {Holding("k", 1)};
  snapshot_.holding[0].expected_end = snapshot_.now + absl::Minutes(10);
  snapshot_.queue.push_back(Job("big", 5, 1));
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 2u);
  ExpectNumbers(blockers[0], Blocker::EARLIER_JOB, 4, 4, 5);
  EXPECT_THAT(Resources(blockers[0]), ElementsAre("jobs/big"));
  EXPECT_EQ(blockers[0].message(),
            "its turn comes after jobs/big, which should start about 14:00 UTC");
  ExpectNumbers(blockers[1], Blocker::SLOTS_HELD, 4, 4, 1);
}

TEST_F(Blockers, TheQuotaOfALabel) {
  snapshot_.hosts = {Host("a", {"jobs/k", "", "", "", ""})};
  snapshot_.options.quotas = ParseQuotas({"team=red:4"}).value();
  snapshot_.holding = {Holding("k", 1)};
  snapshot_.holding[0].expected_end = snapshot_.now + absl::Minutes(10);
  snapshot_.holding[0].labels = job().labels = {{"team", "red"}};
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::QUOTA, 4, 3, 1);
  EXPECT_THAT(Resources(blocker), ElementsAre("jobs/k"));
  EXPECT_EQ(FromTimestamp(blocker.expected_end()), snapshot_.now + absl::Minutes(10));
  EXPECT_EQ(blocker.message(), "jobs with team=red may hold 4 slots together and hold 1");
}

TEST_F(Blockers, AQuotaThatIsTooSmallForIt) {
  snapshot_.hosts = {Host("a", {"", "", "", ""})};
  snapshot_.options.quotas = ParseQuotas({"team=*:2"}).value();
  job().labels = {{"team", "red"}};
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::QUOTA, 4, 2, 0);
  EXPECT_FALSE(blocker.has_expected_end());
  EXPECT_THAT(blocker.message(), testing::HasSubstr("4 never fit in"));
}

TEST_F(Blockers, RanksOfItsLastAttempt) {
  snapshot_.hosts = {Host("a", {"jobs/x", "jobs/x", "", ""})};
  job().ranks_still_running = 2;
  const Blocker blocker = Only();
  ExpectNumbers(blocker, Blocker::RANKS_STILL_RUNNING, 4, 2, 2);
  EXPECT_EQ(blocker.message(), "2 ranks of its last attempt have not ended yet");
}

TEST_F(Blockers, JobsThatMakeRoomForIt) {
  snapshot_.hosts = {Host("a", {"jobs/low", "jobs/low", "jobs/k", "", ""})};
  snapshot_.holding = {Holding("low", 2), Holding("k", 1)};
  snapshot_.holding[0].ending = true;
  job().preempts = {"low"};
  const auto blockers = Explain();
  ASSERT_EQ(blockers.size(), 2u);
  ExpectNumbers(blockers[0], Blocker::PREEMPTION_UNDER_WAY, 4, 2, 2);
  EXPECT_THAT(Resources(blockers[0]), ElementsAre("jobs/low"));
  EXPECT_EQ(blockers[0].message(), "jobs/low writes checkpoints and makes room for it: 2 slots");
  ExpectNumbers(blockers[1], Blocker::SLOTS_HELD, 4, 2, 1);
}

TEST_F(Blockers, JobsThatItWaitsFor) {
  const DependencyState state{
      DependencyState::Kind::kWaiting, "waits for the end of 2 of 3 jobs", {"jobs/a", "jobs/b"}};
  const Blocker blocker = BlockerOfDependencies(state, 3, snapshot_.now);
  ExpectNumbers(blocker, Blocker::DEPENDENCY, 3, 1, 2);
  EXPECT_THAT(Resources(blocker), ElementsAre("jobs/a", "jobs/b"));
  EXPECT_EQ(FromTimestamp(blocker.expected_end()), snapshot_.now);
  EXPECT_FALSE(BlockerOfDependencies(state, 3, std::nullopt).has_expected_end());
}

TEST_F(Blockers, APause) {
  const Blocker blocker = BlockerOfPause(QueuedJob("x", 4).job());
  ExpectNumbers(blocker, Blocker::PAUSED, 4, 0, 0);
  EXPECT_THAT(blocker.message(), testing::HasSubstr("wavefield resume x"));
}

TEST(ShortTime, HasTheDateIfItIsNotTodays) {
  const absl::Time now =
      absl::FromCivil(absl::CivilMinute(2026, 5, 17, 23, 50), absl::UTCTimeZone());
  EXPECT_EQ(ShortTime(now + absl::Minutes(9), now), "23:59 UTC");
  EXPECT_EQ(ShortTime(now + absl::Minutes(11), now), "May 18 00:01 UTC");
}

}  // namespace
}  // namespace wavefield::coordinator
