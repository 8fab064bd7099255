#include "worker/agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/core/base/temporary_directory.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "tests/worker/agent/fake_tasks.h"

namespace wavefield {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() { WriteProbe("the probe"); }

  void WriteProbe(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(directory_.path() / "probe", text).ok());
  }

  void Start(absl::Duration orphan_timeout = absl::Hours(24)) {
    AgentOptions options;
    options.drain_timeout = absl::Seconds(1);
    options.connection.address = coordinator_.address();
    v1::RegisterWorkerRequest& identity = options.session.identity;
    identity.set_worker_id("w1");
    identity.set_address("127.0.0.1");
    identity.set_slots(2);
    identity.set_matmul_rate(1.5e11);
    options.session.storage_root = directory_.path();
    options.session.orphan_timeout = orphan_timeout;
    options.runner.slots = 2;
    options.runner.end_grace = absl::Seconds(1);
    options.runner.task.trainer_program = FakeTrainerProgram();
    options.runner.task.data_dir = directory_.path() / "worker";
    options.runner.task.storage_root = directory_.path();
    auto lock = LockDataDirectory(options.runner.task.data_dir);
    ASSERT_TRUE(lock.ok()) << lock.status();
    auto agent = Agent::Start(std::move(options), *std::move(lock));
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
  }

  bool WaitForRegistrations(size_t n) {
    return coordinator_.WaitUntil([&] { return coordinator_.Registrations().size() >= n; });
  }

  TemporaryDirectory directory_;
  FakeCoordinator coordinator_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(AgentTest, RegistersAndKeepsItsLease) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  const v1::RegisterWorkerRequest request = coordinator_.Registrations()[0];
  EXPECT_EQ(request.worker_id(), "w1");
  EXPECT_EQ(request.storage_probe(), "the probe");
  EXPECT_EQ(request.slots(), 2);
  EXPECT_THAT(request.incarnation(), SizeIs(32));
  EXPECT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.Heartbeats() >= 3; }));
}

TEST_F(AgentTest, HeartbeatsTellHowTheHostIs) {
  Start();
  v1::HostTelemetry host;
  // Ticks of the CPUs' time are of 10 ms: not every heartbeat need have one.
  ASSERT_TRUE(coordinator_.WaitUntil([&] {
    host = coordinator_.LastHeartbeat().host();
    return host.has_cpu_utilization();
  }));
  EXPECT_GE(host.cpu_utilization(), 0);
  EXPECT_LE(host.cpu_utilization(), 1);
  EXPECT_GT(host.memory_bytes(), host.memory_used_bytes());
  EXPECT_GT(host.memory_used_bytes(), 0);
  EXPECT_GT(host.disk_bytes(), 0);
  EXPECT_TRUE(host.has_disk_free_bytes());
  EXPECT_TRUE(host.has_spool_bytes());
  const int64_t empty = host.spool_bytes();
  coordinator_.Assign({FakeTask(1, 0, "finish", 0, 200)});
  EXPECT_TRUE(coordinator_.WaitUntil(
      [&] { return coordinator_.LastHeartbeat().host().spool_bytes() > empty; }));
}

TEST_F(AgentTest, RegistersOnceTheCoordinatorIsThere) {
  coordinator_.Stop();
  Start();
  absl::SleepFor(absl::Milliseconds(150));
  coordinator_.Start();
  EXPECT_TRUE(WaitForRegistrations(1));
}

TEST_F(AgentTest, TriesAgainUntilItSeesTheRightStorage) {
  std::filesystem::remove(directory_.path() / "probe");
  Start();
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_THAT(coordinator_.Registrations(), SizeIs(0)) << "there is nothing to show yet";
  WriteProbe("another");
  ASSERT_TRUE(WaitForRegistrations(1));
  WriteProbe("the probe");
  EXPECT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.Heartbeats() >= 1; }));
}

TEST_F(AgentTest, RunsWhatIsAssignedAndReportsIt) {
  coordinator_.Assign({FakeTask(1, 0, "finish", 0, 2)});
  Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "exit 0"));
  EXPECT_THAT(coordinator_.Story("a/1/0"),
              ElementsAre("started", "training_started", "step", "step", "finished", "exit 0"));
}

TEST_F(AgentTest, AnEventArrivesAtOnce) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  coordinator_.Assign({FakeTask(1, 0, "wait")});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  const absl::Time now = absl::Now();
  for (const v1::WorkerEvent& event : coordinator_.Events()) {
    EXPECT_LT(now - absl::FromUnixSeconds(event.time().seconds()) -
                  absl::Nanoseconds(event.time().nanos()),
              absl::Seconds(2));
  }
}

TEST_F(AgentTest, StopsAndEndsWhatTheListSays) {
  coordinator_.Assign({FakeTask(1, 0, "wait", 0), FakeTask(1, 1, "wait", 1)});
  Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/1", "step"));
  v1::Assignment stopping = FakeTask(1, 0, "wait", 0);
  stopping.set_stop_requested(true);
  coordinator_.Assign({stopping});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "exit 0"));
  EXPECT_THAT(coordinator_.Story("a/1/0"), Contains("stopped"));
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/1", "exit 7"));
}

TEST_F(AgentTest, TrainingGoesOnWhileTheCoordinatorIsAwayAndNothingIsLostOrTwice) {
  coordinator_.Assign({FakeTask(1, 0, "wait", 0), FakeTask(1, 1, "wait", 1)});
  Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/1", "step"));
  const pid_t killed = coordinator_.Events()[0].started().pid();
  const std::string killed_id = coordinator_.Events()[0].task_id();
  const std::string other_id = killed_id == "a/1/0" ? "a/1/1" : "a/1/0";
  coordinator_.Stop();
  ::kill(killed, SIGKILL);
  absl::SleepFor(absl::Milliseconds(300));
  coordinator_.ForgetWorkers();
  coordinator_.Start();
  ASSERT_TRUE(coordinator_.WaitForStory(killed_id, "signal 9"));
  ASSERT_TRUE(WaitForRegistrations(2));
  const v1::RegisterWorkerRequest again = coordinator_.Registrations()[1];
  EXPECT_EQ(again.incarnation(), coordinator_.Registrations()[0].incarnation());
  EXPECT_THAT(again.running(), Contains(::testing::Property(&v1::RunningTask::task_id, other_id)));
  EXPECT_THAT(coordinator_.Story(other_id), ElementsAre("started", "training_started", "step"));
  EXPECT_THAT(coordinator_.Story(killed_id),
              ElementsAre("started", "training_started", "step", "signal 9"));
}

TEST_F(AgentTest, ABacklogOfThousandsIsReplayedWithoutAGap) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  coordinator_.Assign({FakeTask(1, 0, "wait")});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  coordinator_.Assign({FakeTask(1, 0, "wait"), FakeTask(1, 1, "finish", 1, 20000)});
  ASSERT_TRUE(coordinator_.WaitUntil([&] { return !coordinator_.Story("a/1/1").empty(); }));
  coordinator_.Stop();
  absl::SleepFor(absl::Milliseconds(200));
  coordinator_.Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/1", "exit 0"));
  int64_t step = 0;
  for (const v1::WorkerEvent& event : coordinator_.Events()) {
    if (event.task_id() == "a/1/1" && event.trainer().has_step()) {
      ASSERT_EQ(event.trainer().step().step(), ++step);
    }
  }
  EXPECT_EQ(step, 20000);
}

TEST_F(AgentTest, RegistersAgainWhenItIsNotKnown) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  ASSERT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.Heartbeats() >= 1; }));
  coordinator_.ForgetWorkers();
  ASSERT_TRUE(WaitForRegistrations(2));
  const int64_t heartbeats = coordinator_.Heartbeats();
  EXPECT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.Heartbeats() > heartbeats; }));
}

TEST_F(AgentTest, RanksMeetThroughTheCoordinator) {
  Start();
  coordinator_.Assign({FakeTask(1, 0, "rendezvous", 0)});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "started"));
  coordinator_.Assign({FakeTask(1, 0, "rendezvous", 0), FakeTask(1, 1, "rendezvous", 1)});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "exit 0"));
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/1", "exit 0"));
  EXPECT_THAT(coordinator_.Story("a/1/0"), Contains("warning BAUG"));
  EXPECT_THAT(coordinator_.Story("a/1/1"), Contains("warning AAEC"));
}

TEST_F(AgentTest, ARendezvousOutlastsARestartOfTheCoordinator) {
  Start();
  coordinator_.Assign({FakeTask(1, 0, "rendezvous", 0)});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "started"));
  coordinator_.Stop();
  absl::SleepFor(absl::Milliseconds(100));
  coordinator_.Start();
  coordinator_.Assign({FakeTask(1, 0, "rendezvous", 0), FakeTask(1, 1, "rendezvous", 1)});
  EXPECT_TRUE(coordinator_.WaitForStory("a/1/0", "exit 0"));
  EXPECT_TRUE(coordinator_.WaitForStory("a/1/1", "exit 0"));
}

TEST_F(AgentTest, RanksAreEndedWhenTheCoordinatorStaysAway) {
  coordinator_.Assign({FakeTask(1, 0, "wait")});
  Start(/*orphan_timeout=*/absl::Milliseconds(500));
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  const pid_t pid = coordinator_.Events()[0].started().pid();
  coordinator_.Stop();
  EXPECT_TRUE(WaitUntilGone(pid));
  coordinator_.Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "exit 7"));
  absl::SleepFor(absl::Milliseconds(100));
  EXPECT_THAT(coordinator_.Story("a/1/0"), SizeIs(4)) << "it is not started again";
}

TEST_F(AgentTest, ShutdownLetsRanksEndInOrderAndReportsThat) {
  coordinator_.Assign({FakeTask(1, 0, "wait")});
  Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  agent_.reset();
  EXPECT_THAT(coordinator_.Story("a/1/0"), Contains("exit 0"));
}

TEST_F(AgentTest, ShutdownIsQuickWhenTheCoordinatorIsAway) {
  coordinator_.Assign({FakeTask(1, 0, "wait")});
  Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "step"));
  coordinator_.Stop();
  const absl::Time begun = absl::Now();
  agent_.reset();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(4));
}

TEST_F(AgentTest, ASecondWorkerOnTheDataDirectoryIsRefused) {
  Start();
  const auto lock = LockDataDirectory(directory_.path() / "worker");
  EXPECT_EQ(lock.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(lock.status().message()), HasSubstr("another worker uses"));
}

TEST_F(AgentTest, WhatAnEarlierRunDidNotReportIsDropped) {
  const std::filesystem::path old = directory_.path() / "worker" / "spool" / "old";
  {
    const auto spool = *Spool::Open({.directory = old});
    v1::WorkerEvent event;
    event.set_task_id("a/1/0");
    event.mutable_trainer()->mutable_checkpoint_saved()->set_directory("jobs/a/1");
    spool->Append(event);
    ASSERT_TRUE(spool->Sync().ok());
  }
  coordinator_.Assign({FakeTask(2, 0, "finish")});
  Start();
  ASSERT_TRUE(coordinator_.WaitForStory("a/2/0", "exit 0"));
  EXPECT_TRUE(coordinator_.Story("a/1/0").empty());
  EXPECT_FALSE(std::filesystem::exists(old));
}

// What a rank that prints so many lines and aborts has printed.
std::vector<std::string> LinesOfACrash(int rank, int count) {
  std::vector<std::string> lines;
  for (int i = 1; i <= count; ++i) lines.push_back(absl::StrCat("rank ", rank, " line ", i));
  lines.push_back("last wor");
  return lines;
}

TEST_F(AgentTest, EveryLineOfACrashArrivesToTheLast) {
  coordinator_.Assign({PrintingTask(1, 0, 20000, "abort"), PrintingTask(1, 1, 3, "abort")});
  Start();
  ASSERT_TRUE(coordinator_.WaitUntil(
      [&] { return coordinator_.LogIsComplete("a/1/0") && coordinator_.LogIsComplete("a/1/1"); }));
  EXPECT_EQ(coordinator_.Log("a/1/0"), LinesOfACrash(0, 20000));
  EXPECT_EQ(coordinator_.Log("a/1/1"), LinesOfACrash(1, 3));
  EXPECT_LE(coordinator_.LargestLogReport(), 1 << 20);
}

TEST_F(AgentTest, LinesArriveWhileTheRankRuns) {
  coordinator_.Assign({PrintingTask(1, 0, 2, "wait")});
  Start();
  ASSERT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.Log("a/1/0").size() == 2; }));
  EXPECT_FALSE(coordinator_.LogIsComplete("a/1/0"));
}

TEST_F(AgentTest, LinesWaitForACoordinatorThatIsAway) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  coordinator_.Assign({PrintingTask(1, 0, 100, "wait"), PrintingTask(1, 1, 100, "wait")});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "training_started"));
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/1", "training_started"));
  coordinator_.Stop();
  for (const char* rank : {"0", "1"}) {
    ASSERT_TRUE(coordinator_.WaitUntil([&] {
      const auto log =
          ReadFile(directory_.path() / absl::StrCat("worker/logs/a/epoch-1-rank-", rank, ".log"));
      return log.ok() && log->ends_with("line 100\n");
    }));
  }
  const pid_t pid = coordinator_.Events()[0].started().pid();
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(WaitUntilGone(pid));
  coordinator_.Start();
  const std::string killed = coordinator_.Events()[0].task_id();
  ASSERT_TRUE(coordinator_.WaitUntil([&] {
    return coordinator_.LogIsComplete(killed) && coordinator_.Log("a/1/0").size() == 100 &&
           coordinator_.Log("a/1/1").size() == 100;
  }));
}

TEST_F(AgentTest, AWorkerThatStartsAnewSendsWhatWasLeft) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  coordinator_.Assign({PrintingTask(1, 0, 5000, "wait")});
  ASSERT_TRUE(coordinator_.WaitForStory("a/1/0", "training_started"));
  coordinator_.Stop();
  agent_.reset();  // its rank is ended, which nobody hears of
  coordinator_.Assign({});
  coordinator_.Start();
  Start();
  ASSERT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.LogIsComplete("a/1/0"); }));
  std::vector<std::string> lines = LinesOfACrash(0, 5000);
  lines.pop_back();
  EXPECT_EQ(coordinator_.Log("a/1/0"), lines);
}

TEST_F(AgentTest, ATaskThatCannotBeStartedSaysSoInItsLog) {
  Start();
  ASSERT_TRUE(WaitForRegistrations(1));
  coordinator_.Assign({FakeTask(1, 0, "wait", /*slot=*/7)});
  ASSERT_TRUE(coordinator_.WaitUntil([&] { return coordinator_.LogIsComplete("a/1/0"); }));
  EXPECT_THAT(coordinator_.Log("a/1/0"), ElementsAre(HasSubstr("could not start it")));
}

}  // namespace
}  // namespace wavefield
