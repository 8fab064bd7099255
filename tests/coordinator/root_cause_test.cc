// Why attempts end badly: each kind there is, from how ranks and workers end.
#include "coordinator/explain/root_cause.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/status/status.h"
#include "coordinator/jobs/timestamps.h"
#include "tests/coordinator/record_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using v1::RootCause;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::TrainerFailure Failure(absl::StatusCode code, const std::string& phase, int64_t step,
                           const std::string& message) {
  v1::TrainerFailure failure;
  failure.set_code(static_cast<int>(code));
  failure.set_phase(phase);
  failure.set_step(step);
  failure.set_message(message);
  return failure;
}

// Rank 1 fails of two ranks that have trained up to step 7.
class RootCauses : public testing::Test {
 protected:
  RootCauses() { Train(); }

  void Train() {
    OnTrainingStarted(record_, Started(), kNow);
    *record_.mutable_job()->mutable_last_step() = StepAt(7);
  }

  void Exit(const v1::TaskExited& exited, int rank = 1) {
    OnTaskExited(record_, "x/1/" + std::to_string(rank), exited, kNow);
  }
  void Fail(absl::StatusCode code, const std::string& phase, const std::string& message,
            int rank = 1) {
    OnTrainerFailure(record_, "x/1/" + std::to_string(rank), Failure(code, phase, 9, message));
  }
  // Says why, and ends with code 1.
  const RootCause& FailAndExit(absl::StatusCode code, const std::string& phase,
                               const std::string& message) {
    Fail(code, phase, message);
    Exit(ExitCode(1));
    return Newest();
  }
  const RootCause& Newest() {
    EXPECT_FALSE(record_.root_causes().empty());
    return *record_.root_causes().rbegin();
  }

  static void Expect(const RootCause& cause, RootCause::Kind kind, const std::string& phase,
                     int64_t step, int rank = 1) {
    EXPECT_EQ(cause.kind(), kind) << cause.ShortDebugString();
    EXPECT_EQ(cause.phase(), phase);
    EXPECT_EQ(cause.step(), step);
    EXPECT_EQ(cause.rank(), rank);
    EXPECT_EQ(cause.worker(), rank < 0 ? "" : "workers/a");
    EXPECT_EQ(cause.attempt(), 1);
    EXPECT_EQ(FromTimestamp(cause.time()), kNow);
    EXPECT_FALSE(cause.advice().empty());
    EXPECT_FALSE(DescribeRootCause(cause).empty());
  }

  JobRecord record_ = StartedJob("x");
};

TEST_F(RootCauses, AKilledProcess) {
  v1::TaskExited exited = ExitSignal(SIGKILL);
  for (int line = 0; line < 30; ++line) exited.add_last_lines("line " + std::to_string(line));
  Exit(exited);
  Expect(Newest(), RootCause::KILLED, "", 7);
  EXPECT_EQ(Newest().signal(), SIGKILL);
  EXPECT_FALSE(Newest().has_exit_code());
  ASSERT_EQ(Newest().last_lines_size(), 20);
  EXPECT_EQ(Newest().last_lines(0), "line 10");
  EXPECT_EQ(Newest().last_lines(19), "line 29");
  EXPECT_EQ(DescribeRootCause(Newest()),
            "rank 1 on workers/a was ended by signal 9 (Killed) in attempt 1, after step 7");
}

TEST_F(RootCauses, ACrash) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE}) {
    record_ = StartedJob("x");
    Train();
    Exit(ExitSignal(signal));
    Expect(Newest(), RootCause::CRASHED, "", 7);
    EXPECT_EQ(Newest().signal(), signal);
  }
}

TEST_F(RootCauses, AnotherSignalBeforeTrainingBegan) {
  record_ = StartedJob("x");
  Exit(ExitSignal(SIGTERM));
  Expect(Newest(), RootCause::SIGNALLED, "start", 0);
}

TEST_F(RootCauses, AProcessThatIsGone) {
  OnTaskVanished(record_, "x/1/1", kNow);
  Expect(Newest(), RootCause::VANISHED, "", 7);
}

TEST_F(RootCauses, AWorkerThatIsLostOrReplaced) {
  OnWorkerGone(record_, "a", "", "no heartbeat for 10.0 s", kNow);
  Expect(Newest(), RootCause::WORKER_LOST, "", 7, 0);
  EXPECT_EQ(Newest().error(), "no heartbeat for 10.0 s");
  record_ = StartedJob("x");
  OnWorkerGone(record_, "a", "a2", "the worker was started anew", kNow);
  Expect(Newest(), RootCause::WORKER_REPLACED, "start", 0, 0);
}

TEST_F(RootCauses, AProgramThatCouldNotBeStarted) {
  record_ = StartedJob("x");
  v1::TaskExited exited = ExitCode(127);
  exited.add_last_lines("the worker could not start it: no such program");
  Exit(exited);
  Expect(Newest(), RootCause::START_FAILED, "start", 0);
  EXPECT_THAT(Newest().error(), HasSubstr("no such program"));
}

TEST_F(RootCauses, MemoryThatDidNotSuffice) {
  Expect(FailAndExit(absl::StatusCode::kResourceExhausted, "start",
                     "this rank needs about 9.00 GiB, and the GPU has 8.00"),
         RootCause::OUT_OF_MEMORY, "start", 9);
  record_ = StartedJob("x");
  Train();
  v1::TaskExited exited = ExitSignal(SIGABRT);
  exited.add_last_lines("terminate called after throwing an instance of 'std::bad_alloc'");
  Exit(exited);
  Expect(Newest(), RootCause::OUT_OF_MEMORY, "", 7);
}

TEST_F(RootCauses, AStorageThatIsFull) {
  Expect(FailAndExit(absl::StatusCode::kResourceExhausted, "checkpoint", "cannot write"),
         RootCause::OUT_OF_SPACE, "checkpoint", 9);
}

TEST_F(RootCauses, DamagedData) {
  Expect(FailAndExit(absl::StatusCode::kDataLoss, "resume", "the hash is another"),
         RootCause::DATA_DAMAGED, "resume", 9);
}

TEST_F(RootCauses, PeersThatCannotBeReached) {
  Expect(FailAndExit(absl::StatusCode::kDeadlineExceeded, "start", "rank 0 did not come"),
         RootCause::PEERS_UNREACHABLE, "start", 9);
}

TEST_F(RootCauses, AnErrorOfTheDevice) {
  record_.mutable_job()->mutable_spec()->mutable_resources()->set_device("cuda");
  Expect(FailAndExit(absl::StatusCode::kInternal, "step", "an illegal memory access"),
         RootCause::DEVICE_ERROR, "step", 9);
  record_ = StartedJob("x");
  v1::TaskExited exited = ExitSignal(SIGABRT);
  exited.add_last_lines("cudaMemcpy: cudaErrorIllegalAddress: an illegal memory access");
  Exit(exited);
  Expect(Newest(), RootCause::DEVICE_ERROR, "start", 0);
}

TEST_F(RootCauses, AnEndWithoutAnErrorBeforeTrainingWasDone) {
  Exit(ExitCode(0), 0);
  EXPECT_TRUE(record_.root_causes().empty()) << "rank 1 still runs";
  Exit(ExitCode(0), 1);
  Expect(Newest(), RootCause::ENDED_EARLY, "", 7, -1);
  EXPECT_EQ(Newest().exit_code(), 0);
}

TEST_F(RootCauses, AnErrorThatTheProgramTold) {
  Expect(FailAndExit(absl::StatusCode::kOutOfRange, "step", "the loss is not finite"),
         RootCause::RANK_ERROR, "step", 9);
  EXPECT_EQ(Newest().error(), "the loss is not finite");
  EXPECT_EQ(Newest().exit_code(), 1);
  EXPECT_FALSE(Newest().has_signal());
  EXPECT_EQ(
      DescribeRootCause(Newest()),
      "rank 1 on workers/a ended with an error (exit code 1) in attempt 1, after step 9, phase "
      "step: the loss is not finite");
}

TEST_F(RootCauses, AnErrorThatItKeptToItself) {
  v1::TaskExited exited = ExitCode(3);
  exited.add_last_lines("Segmentation? no.");
  Exit(exited);
  Expect(Newest(), RootCause::RANK_ERROR, "", 7);
  EXPECT_EQ(Newest().error(), "");
  EXPECT_THAT(Newest().last_lines(), ElementsAre("Segmentation? no."));
  EXPECT_THAT(Newest().advice(), HasSubstr("wavefield logs"));
}

TEST_F(RootCauses, SomethingThatIsNotThere) {
  Expect(FailAndExit(absl::StatusCode::kNotFound, "data", "datasets/text is not there"),
         RootCause::NOT_FOUND, "data", 9);
}

TEST_F(RootCauses, ASpecThatTheHostRefuses) {
  Expect(FailAndExit(absl::StatusCode::kFailedPrecondition, "start", "the ranks compute otherwise"),
         RootCause::REFUSED, "start", 9);
}

TEST_F(RootCauses, AJobThatItWaitedFor) {
  record_ = QueuedJob("x");
  FailForDependency(record_, "starts after the success of jobs/y, which has failed", kNow);
  EXPECT_EQ(Newest().kind(), RootCause::DEPENDENCY_FAILED);
  EXPECT_EQ(Newest().attempt(), 0);
  EXPECT_EQ(Newest().rank(), -1);
  EXPECT_EQ(DescribeRootCause(Newest()), "starts after the success of jobs/y, which has failed");
  EXPECT_FALSE(Newest().advice().empty());
}

TEST_F(RootCauses, RanksThatDidNotStop) {
  RequestCancel(record_, kNow);
  ForceStop(record_, "did not stop within 60 s: its ranks were ended", kNow);
  Expect(Newest(), RootCause::DID_NOT_STOP, "", 7, -1);
  Exit(ExitSignal(SIGKILL));
  EXPECT_EQ(record_.root_causes_size(), 1) << "what the force did is no cause";
  EXPECT_EQ(Newest().kind(), RootCause::DID_NOT_STOP);
}

TEST_F(RootCauses, TheFirstRankCountsAndNotThoseThatFallWithIt) {
  Exit(ExitSignal(SIGSEGV), 1);
  v1::TaskExited aborted = ExitCode(76);
  Exit(aborted, 0);
  ASSERT_EQ(record_.root_causes_size(), 1);
  Expect(Newest(), RootCause::CRASHED, "", 7, 1);
}

TEST_F(RootCauses, ARankThatSaidWhyIsTheCauseThoughAnotherEndedFirst) {
  Fail(absl::StatusCode::kDataLoss, "data", "a shard is damaged", 1);
  Fail(absl::StatusCode::kAborted, "step", "a peer is gone", 0);
  Exit(ExitCode(76), 0);
  Expect(Newest(), RootCause::DATA_DAMAGED, "data", 9, 1);
  EXPECT_FALSE(Newest().has_exit_code()) << "it has not ended yet";
  EXPECT_THAT(record_.job().state_message(), HasSubstr("a shard is damaged"));
  v1::TaskExited exited = ExitCode(1);
  exited.add_last_lines("its last word");
  Exit(exited, 1);
  ASSERT_EQ(record_.root_causes_size(), 1);
  EXPECT_EQ(Newest().exit_code(), 1);
  EXPECT_THAT(Newest().last_lines(), ElementsAre("its last word"));
}

TEST_F(RootCauses, ALateEndTellsWhoseFaultItWas) {
  Exit(ExitCode(76), 0);
  Expect(Newest(), RootCause::PEERS_UNREACHABLE, "", 7, 0);
  OnTrainerFailure(record_, "x/1/1", Failure(absl::StatusCode::kInternal, "step", 8, "a bug"));
  Exit(ExitCode(1), 1);
  ASSERT_EQ(record_.root_causes_size(), 1);
  Expect(Newest(), RootCause::RANK_ERROR, "step", 8, 1);
}

TEST_F(RootCauses, ALateEndThatTheWorkerBroughtAboutTellsNothing) {
  Exit(ExitCode(76), 0);
  v1::TaskExited ended = ExitSignal(SIGTERM);
  ended.add_last_lines("ended by the worker: it is no longer assigned to this worker");
  Exit(ended, 1);
  Expect(Newest(), RootCause::PEERS_UNREACHABLE, "", 7, 0);
}

TEST_F(RootCauses, ALostWorkerIsWhyItsPeersEnded) {
  record_ = QueuedJob("x");
  StartAttempt(record_, {{"a", "a1", 0}, {"b", "b1", 0}}, {}, kNow);
  Exit(ExitCode(76), 0);
  OnWorkerGone(record_, "b", "", "no heartbeat for 10.0 s", kNow);
  ASSERT_EQ(record_.root_causes_size(), 1);
  EXPECT_EQ(Newest().kind(), RootCause::WORKER_LOST);
  EXPECT_EQ(Newest().worker(), "workers/b");
}

TEST_F(RootCauses, AnAttemptThatWasAskedToStopAndDidSoHasNone) {
  RequestPause(record_, kNow);
  OnTrainingFinished(record_, Finished(true));
  Exit(ExitCode(0), 0);
  Exit(ExitCode(0), 1);
  EXPECT_EQ(record_.job().state(), v1::JOB_STATE_PAUSED);
  EXPECT_TRUE(record_.root_causes().empty());
}

TEST_F(RootCauses, TheLastTwentyAreKept) {
  record_.mutable_job()->mutable_spec()->mutable_restart()->set_max_restarts(100);
  for (int attempt = 1; attempt <= 25; ++attempt) {
    if (attempt > 1) StartAttempt(record_, {{"a", "a1", 0}}, {}, kNow);
    const std::string epoch = std::to_string(record_.job().epoch());
    const int ranks = record_.tasks_size();
    for (int rank = 0; rank < ranks; ++rank) {
      OnTaskExited(record_, "x/" + epoch + "/" + std::to_string(rank), ExitSignal(SIGSEGV), kNow);
    }
  }
  ASSERT_EQ(record_.root_causes_size(), 20);
  EXPECT_EQ(record_.root_causes(0).attempt(), 6);
  EXPECT_EQ(Newest().attempt(), 25);
}

}  // namespace
}  // namespace wavefield::coordinator
