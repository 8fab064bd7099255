#include "worker/agent/task_runner.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "tests/core/base/temporary_directory.h"
#include "tests/worker/agent/fake_tasks.h"

namespace wavefield {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TaskRunnerTest : public ::testing::Test {
 protected:
  void Start(absl::Duration end_grace = absl::Seconds(5)) {
    TaskRunnerOptions options;
    options.task.trainer_program = trainer_;
    options.task.data_dir = directory_.path();
    options.task.storage_root = directory_.path();
    options.task.threads = 3;
    options.slots = 2;
    options.end_grace = end_grace;
    TaskRunnerCallbacks callbacks;
    callbacks.event = [this](v1::WorkerEvent event) {
      const absl::MutexLock lock(&mutex_);
      events_.push_back(std::move(event));
      return static_cast<int64_t>(events_.size());
    };
    callbacks.ended = [](const std::string&) {};
    runner_ = *TaskRunner::Start(options, callbacks);
  }

  void Want(const std::vector<v1::Assignment>& assignments) {
    v1::AssignmentList list;
    for (const v1::Assignment& assignment : assignments) *list.add_assignments() = assignment;
    runner_->Reconcile(list);
  }

  // Waits for the first event for which `is` holds.
  v1::WorkerEvent WaitFor(const std::function<bool(const v1::WorkerEvent&)>& is) {
    v1::WorkerEvent found;
    const auto arrived = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      for (const v1::WorkerEvent& event : events_) {
        if (!is(event)) continue;
        found = event;
        return true;
      }
      return false;
    };
    const absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&arrived), absl::Seconds(10)));
    return found;
  }
  pid_t WaitForPid() {
    return WaitFor([](const auto& event) { return event.has_started(); }).started().pid();
  }
  v1::TaskExited WaitForExit() {
    return WaitFor([](const auto& event) { return event.has_exited(); }).exited();
  }
  void WaitForStep() {
    WaitFor([](const auto& event) { return event.trainer().has_step(); });
  }

  std::vector<v1::WorkerEvent> Events() {
    const absl::MutexLock lock(&mutex_);
    return events_;
  }

  TemporaryDirectory directory_;
  std::filesystem::path trainer_ = FakeTrainerProgram();
  absl::Mutex mutex_;
  std::vector<v1::WorkerEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<TaskRunner> runner_;
};

TEST_F(TaskRunnerTest, TellsATaskFromStartToExitInOrder) {
  Start();
  Want({FakeTask(1, 0, "finish", 0, 2000)});
  EXPECT_EQ(WaitForExit().code(), 0);
  const std::vector<v1::WorkerEvent> events = Events();
  ASSERT_EQ(events.size(), 2004u);
  EXPECT_TRUE(events[0].has_started());
  EXPECT_TRUE(events[1].trainer().has_training_started());
  for (int step = 1; step <= 2000; ++step) {
    ASSERT_EQ(events[1 + step].trainer().step().step(), step);
  }
  EXPECT_TRUE(events[2002].trainer().has_finished());
  EXPECT_TRUE(events[2003].has_exited());
  EXPECT_TRUE(events[0].has_time());
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() / "tasks")) << "task files are removed";
}

TEST_F(TaskRunnerTest, KeepsTheLogAndTellsItsLastLines) {
  Start();
  Want({FakeTask(4, 1, "fail")});
  const v1::TaskExited exited = WaitForExit();
  EXPECT_EQ(exited.code(), 3);
  ASSERT_EQ(exited.last_lines_size(), 20);
  EXPECT_EQ(exited.last_lines(0), "line 12");
  EXPECT_EQ(exited.last_lines(19), "bad bytes ??");
  const auto log = ReadFile(directory_.path() / "logs" / "a" / "epoch-4-rank-1.log");
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, HasSubstr("line 1\n"));
  const v1::TrainerFailure failure =
      WaitFor([](const auto& e) { return e.trainer().has_failure(); }).trainer().failure();
  EXPECT_EQ(failure.message(), "it was told to");
  EXPECT_EQ(failure.code(), 9);
  EXPECT_EQ(failure.phase(), "resume");
  EXPECT_EQ(failure.step(), 5);
}

TEST_F(TaskRunnerTest, StopsInAnOrderlyWay) {
  Start();
  Want({FakeTask(1, 0, "wait")});
  WaitForStep();
  v1::Assignment stopping = FakeTask(1, 0, "wait");
  stopping.set_stop_requested(true);
  Want({stopping});
  EXPECT_EQ(WaitForExit().code(), 0);
  EXPECT_TRUE(WaitFor([](const auto& e) { return e.trainer().has_finished(); })
                  .trainer()
                  .finished()
                  .stopped());
}

TEST_F(TaskRunnerTest, AbortsWhatIsNoLongerWanted) {
  Start();
  Want({FakeTask(1, 0, "wait")});
  WaitForStep();
  const absl::Time begun = absl::Now();
  Want({});
  const v1::TaskExited exited = WaitForExit();
  EXPECT_EQ(exited.code(), 7) << "it heard the abort";
  EXPECT_THAT(exited.last_lines(),
              Contains("ended by the worker: it is no longer assigned to this worker"));
  EXPECT_LT(absl::Now() - begun, absl::Seconds(5)) << "the grace of those that do not hear";
}

TEST_F(TaskRunnerTest, KillsTheWholeGroupOfATaskThatDoesNotHear) {
  Start(/*end_grace=*/absl::Milliseconds(200));
  Want({FakeTask(1, 0, "deaf with child")});
  const pid_t child = std::stoi(WaitFor([](const auto& e) { return e.trainer().has_warning(); })
                                    .trainer()
                                    .warning()
                                    .substr(6));
  ASSERT_TRUE(IsAlive(child));
  Want({});
  EXPECT_EQ(WaitForExit().signal(), SIGKILL);
  EXPECT_TRUE(WaitUntilGone(child));
}

TEST_F(TaskRunnerTest, TheGroupOfATaskThatWasKilledGoesWithIt) {
  Start();
  Want({FakeTask(1, 0, "deaf with child")});
  const pid_t child = std::stoi(WaitFor([](const auto& e) { return e.trainer().has_warning(); })
                                    .trainer()
                                    .warning()
                                    .substr(6));
  ::kill(WaitForPid(), SIGKILL);
  EXPECT_EQ(WaitForExit().signal(), SIGKILL);
  EXPECT_TRUE(WaitUntilGone(child));
}

TEST_F(TaskRunnerTest, KillsATaskThatBreaksTheProtocolAndSaysWhy) {
  Start();
  Want({FakeTask(1, 0, "malformed")});
  const v1::TaskExited exited = WaitForExit();
  EXPECT_EQ(exited.signal(), SIGKILL);
  EXPECT_THAT(exited.last_lines(),
              Contains(HasSubstr("broke the protocol of its channel: a line that is not JSON")));
}

TEST_F(TaskRunnerTest, ReportsATrainerThatCannotBeRun) {
  trainer_ = "/no/such/program";
  Start();
  Want({FakeTask(1, 0, "wait")});
  const v1::TaskExited exited = WaitForExit();
  EXPECT_EQ(exited.code(), 127);
  EXPECT_THAT(exited.last_lines(), ElementsAre(HasSubstr("/no/such/program")));
}

TEST_F(TaskRunnerTest, ReusesASlotAfterItsTaskHasEnded) {
  Start();
  Want({FakeTask(1, 0, "wait")});
  WaitForStep();
  Want({FakeTask(2, 0, "finish")});
  WaitFor([](const auto& e) { return e.task_id() == "a/2/0" && e.has_exited(); });
  std::vector<std::string> order;
  for (const v1::WorkerEvent& event : Events()) {
    if (event.has_started() || event.has_exited()) order.push_back(event.task_id());
  }
  EXPECT_THAT(order, ElementsAre("a/1/0", "a/1/0", "a/2/0", "a/2/0"));
}

TEST_F(TaskRunnerTest, ATaskCountsAsRunningUntilItsExitIsAcknowledged) {
  Start();
  Want({FakeTask(1, 0, "finish")});
  WaitForExit();
  ASSERT_EQ(runner_->Running().size(), 1u);
  EXPECT_EQ(runner_->Running()[0].task_id(), "a/1/0");
  runner_->Acknowledge(static_cast<int64_t>(Events().size()));
  for (int i = 0; i < 1000 && !runner_->Running().empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_TRUE(runner_->Running().empty());
}

TEST_F(TaskRunnerTest, ShutdownEndsTasksReportsThemAndStartsNone) {
  Start();
  Want({FakeTask(1, 0, "deaf", 0), FakeTask(1, 1, "wait", 1)});
  WaitForStep();
  WaitFor([](const auto& e) { return e.trainer().has_warning(); });
  runner_->Shutdown("the worker is shutting down", absl::Milliseconds(200));
  Want({FakeTask(2, 0, "wait")});
  std::vector<std::string> exited;
  for (const v1::WorkerEvent& event : Events()) {
    if (event.has_exited()) exited.push_back(event.task_id());
  }
  EXPECT_THAT(exited, ::testing::UnorderedElementsAre("a/1/0", "a/1/1"));
}

// The owner is a process of its own, killed as the kernel would for want of memory.
TEST(Ownership, NothingSurvivesAnOwnerThatIsKilled) {
  for (const char* behaviour : {"wait", "deaf"}) {
    const TemporaryDirectory directory;
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    const FileDescriptor read_end(fds[0]);
    FileDescriptor write_end(fds[1]);
    ProcessOptions options;
    options.command = {ProgramDirectory() / "task_owner", directory.path(), behaviour};
    options.stdout_fd = write_end.get();
    auto owner = Subprocess::Start(options);
    ASSERT_TRUE(owner.ok()) << owner.status();
    write_end.Close();
    char line[32] = "";
    ASSERT_GT(::read(read_end.get(), line, sizeof(line) - 1), 0);
    const pid_t trainer = std::atoi(line);
    ASSERT_TRUE(IsAlive(trainer));
    ::kill(owner->pid(), SIGKILL);
    EXPECT_TRUE(WaitUntilGone(trainer)) << behaviour;
  }
}

}  // namespace
}  // namespace wavefield
