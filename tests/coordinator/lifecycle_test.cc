#include "coordinator/jobs/lifecycle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "coordinator/control/control_loop.h"
#include "tests/coordinator/record_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST(Lifecycle, RunsFromQueuedToSucceeded) {
  JobRecord record = StartedJob("x");
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_STARTING);
  EXPECT_EQ(record.job().attempt(), 1);
  ASSERT_EQ(record.tasks_size(), 2);
  EXPECT_EQ(record.tasks(1).task_id(), "x/1/1");
  OnTaskStarted(record, "x/1/1", 42);
  EXPECT_EQ(record.job().placements(1).pid(), 42);
  OnTrainingStarted(record, Started(), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_RUNNING);
  EXPECT_TRUE(record.job().has_start_time());
  OnTrainingFinished(record, Finished(false));
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_RUNNING);
  OnTaskExited(record, "x/1/1", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_BUDGET_REACHED);
  EXPECT_TRUE(record.job().has_end_time());
  EXPECT_FALSE(IsLive(record));
}

TEST(Lifecycle, DeadRankEndsTheAttemptAndRestartWaitsForTheOthers) {
  JobRecord record = StartedJob("x");
  OnTrainingStarted(record, Started(), kNow);
  OnTaskExited(record, "x/1/1", ExitSignal(9), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_RESTARTING);
  EXPECT_EQ(record.job().epoch(), 2);
  EXPECT_EQ(record.job().restarts(), 1);
  ASSERT_EQ(record.job().warnings_size(), 1);
  EXPECT_THAT(record.job().warnings(0), HasSubstr("rank 1 on workers/a ended with signal 9"));
  EXPECT_TRUE(HoldsSlots(record)) << "rank 0 has not ended yet";
  OnTaskExited(record, "x/1/0", ExitSignal(9), kNow);
  EXPECT_FALSE(HoldsSlots(record));
  EXPECT_EQ(record.job().restarts(), 1) << "an end of an old epoch is no new failure";
  StartAttempt(record, {{"a", "a1", 0}, {"a", "a1", 1}}, {"checkpoints/x/10-1"}, kNow);
  EXPECT_EQ(record.tasks(0).task_id(), "x/2/0");
  EXPECT_EQ(record.job().attempt(), 2);
}

TEST(Lifecycle, FailsWithItsRootCauseWhenRestartsAreUsedUp) {
  JobRecord record = StartedJob("x", 1, 1);
  OnTaskExited(record, "x/1/0", ExitCode(1), kNow);
  ASSERT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
  StartAttempt(record, {{"a", "a1", 0}}, {}, kNow);
  record.mutable_tasks(0)->set_fatal("the loss is not finite");
  v1::TaskExited exited = ExitCode(3);
  exited.add_last_lines("the last thing it said");
  OnTaskExited(record, "x/2/0", exited, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_RESTARTS_EXHAUSTED);
  EXPECT_THAT(record.job().state_message(),
              HasSubstr("rank 0 on workers/a ended with exit code 3"));
  EXPECT_THAT(record.job().state_message(), HasSubstr("the loss is not finite"));
  EXPECT_THAT(record.job().state_message(), HasSubstr("the last thing it said"));
}

TEST(Lifecycle, WithoutRestartsTheCauseIsTheReason) {
  JobRecord record = StartedJob("x", 1, 0);
  OnTaskExited(record, "x/1/0", ExitSignal(11), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_RANK_DIED);
}

TEST(Lifecycle, ExitsWithoutFinishingAreAFailure) {
  JobRecord record = StartedJob("x", 1, 0);
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_RANK_ERROR);
}

TEST(Lifecycle, CancelledWhileQueuedEndsAtOnce) {
  JobRecord record = QueuedJob("x");
  RequestCancel(record, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_CANCELLED);
}

TEST(Lifecycle, CancelledWhileRunningStopsInAnOrderlyWay) {
  JobRecord record = StartedJob("x", 1);
  OnTrainingStarted(record, Started(), kNow);
  RequestCancel(record, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_STOPPING);
  EXPECT_NE(FindLiveTask(record, "x/1/0"), nullptr) << "its last reports still count";
  OnTrainingFinished(record, Finished(true));
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_CANCELLED);
}

TEST(Lifecycle, AJobThatFinishesWhileItIsCancelledHasSucceeded) {
  JobRecord record = StartedJob("x", 1);
  RequestCancel(record, kNow);
  OnTrainingFinished(record, Finished(false));
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_SUCCEEDED);
}

TEST(Lifecycle, ADeathWhileStoppingIsNotRestarted) {
  JobRecord record = StartedJob("x");
  RequestCancel(record, kNow);
  OnTaskExited(record, "x/1/0", ExitSignal(9), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(IsLive(record)) << "rank 1 still holds its slot";
  OnTaskExited(record, "x/1/1", ExitSignal(9), kNow);
  EXPECT_FALSE(IsLive(record));
}

TEST(Lifecycle, ForcedCancelFencesTheEpochOff) {
  JobRecord record = StartedJob("x", 1);
  RequestCancel(record, kNow);
  ForceStop(record, "did not stop", kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(FindLiveTask(record, "x/1/0"), nullptr);
  EXPECT_TRUE(HoldsSlots(record));
}

TEST(Lifecycle, PausedWhileRunningStopsInAnOrderlyWayAndIsQueuedOnRequest) {
  JobRecord record = StartedJob("x", 1);
  OnTrainingStarted(record, Started(), kNow);
  RequestPause(record, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_STOPPING);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_PAUSED_BY_USER);
  EXPECT_NE(FindLiveTask(record, "x/1/0"), nullptr) << "its last reports still count";
  OnTrainingFinished(record, Finished(true));
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(record.job().epoch(), 2);
  EXPECT_FALSE(HoldsSlots(record));
  EXPECT_TRUE(IsLive(record));
  EXPECT_FALSE(record.job().has_end_time());
  Resume(record, kNow + absl::Seconds(5));
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(record.job().queue_time().seconds(), absl::ToUnixSeconds(kNow) + 5);
  StartAttempt(record, {{"a", "a1", 0}}, {"checkpoints/x/10-1"}, kNow);
  EXPECT_EQ(record.job().restarts(), 0);
  EXPECT_EQ(record.stop_reason(), v1::JOB_REASON_UNSPECIFIED);
}

TEST(Lifecycle, PausedWhileQueuedHappensAtOnceAndCancelEndsIt) {
  JobRecord record = QueuedJob("x");
  RequestPause(record, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_PAUSED);
  RequestCancel(record, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(record.job().state_message(), "cancelled while it was paused");
}

TEST(Lifecycle, ResumedWhileItPausesGoesOnInTheQueue) {
  JobRecord record = StartedJob("x", 1);
  RequestPause(record, kNow);
  Resume(record, kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_STOPPING);
  OnTrainingFinished(record, Finished(true));
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(record.job().restarts(), 0);
}

TEST(Lifecycle, AYieldQueuesAgainAndCostsNoRestart) {
  for (const bool clean : {true, false}) {
    JobRecord record = StartedJob("x", 1, 0);
    OnTrainingStarted(record, Started(), kNow);
    RequestYield(record, v1::JOB_REASON_PREEMPTED, "makes room for jobs/y");
    EXPECT_EQ(record.job().state(), v1::JOB_STATE_STOPPING);
    EXPECT_EQ(record.job().reason(), v1::JOB_REASON_PREEMPTED);
    if (clean) OnTrainingFinished(record, Finished(true));
    OnTaskExited(record, "x/1/0", clean ? ExitCode(0) : ExitSignal(9), kNow + absl::Seconds(1));
    EXPECT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(record.job().reason(), v1::JOB_REASON_PREEMPTED);
    EXPECT_THAT(record.job().state_message(), HasSubstr("makes room for jobs/y; stopped"));
    EXPECT_EQ(record.job().restarts(), 0);
    EXPECT_EQ(record.job().warnings_size(), clean ? 0 : 1);
    EXPECT_EQ(record.job().queue_time().seconds(), absl::ToUnixSeconds(kNow) + 1);
  }
}

TEST(Lifecycle, WhatTheUserAskedForReplacesAYieldAndCancelReplacesAll) {
  JobRecord record = StartedJob("x", 1);
  RequestYield(record, v1::JOB_REASON_WORKER_DRAINED, "workers/a is drained");
  RequestPause(record, kNow);
  RequestYield(record, v1::JOB_REASON_PREEMPTED, "makes room for jobs/y");
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_PAUSED_BY_USER);
  RequestCancel(record, kNow);
  RequestPause(record, kNow);
  Resume(record, kNow);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_CANCELLED_BY_USER);
  ForceStop(record, "did not stop", kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_CANCELLED);
}

TEST(Lifecycle, RanksThatDoNotStopAreDroppedAndTheJobIsWhatItWasToBe) {
  JobRecord paused = StartedJob("x", 1);
  RequestPause(paused, kNow);
  ForceStop(paused, "did not stop", kNow);
  EXPECT_EQ(paused.job().state(), v1::JOB_STATE_PAUSED);
  EXPECT_TRUE(HoldsSlots(paused)) << "until its rank has ended";
  JobRecord drained = StartedJob("x", 1);
  RequestYield(drained, v1::JOB_REASON_WORKER_DRAINED, "workers/a is drained");
  ForceStop(drained, "did not stop", kNow);
  EXPECT_EQ(drained.job().state(), v1::JOB_STATE_QUEUED);
}

TEST(Lifecycle, AResumedJobHasAllItsRestartsAgain) {
  JobRecord record = StartedJob("x", 1, 1);
  OnTaskExited(record, "x/1/0", ExitCode(1), kNow);
  StartAttempt(record, {{"a", "a1", 0}}, {}, kNow);
  OnTaskExited(record, "x/2/0", ExitCode(1), kNow);
  ASSERT_EQ(record.job().state(), v1::JOB_STATE_FAILED);
  Resume(record, kNow);
  EXPECT_FALSE(record.job().has_end_time());
  StartAttempt(record, {{"a", "a1", 0}}, {}, kNow);
  OnTaskExited(record, record.tasks(0).task_id(), ExitCode(1), kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(record.job().restarts(), 2) << "all that there were";
  EXPECT_THAT(record.job().state_message(), HasSubstr("restarts (1 of 1)"));
}

TEST(Lifecycle, TheBudgetIsUsedUpByStepsOrByTime) {
  JobRecord record = StartedJob("x", 1);
  v1::Job& job = *record.mutable_job();
  job.set_max_steps(10);
  job.mutable_spec()->mutable_training()->set_max_minutes(5);
  *job.mutable_last_step() = StepAt(7);
  EXPECT_FALSE(BudgetIsUsedUp(record));
  OnTrainingFinished(record, Finished(false));
  OnTaskExited(record, "x/1/0", ExitCode(0), kNow);
  ASSERT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(BudgetIsUsedUp(record)) << "by time, at step 7 of 10";
  job.set_max_steps(20);
  EXPECT_TRUE(BudgetIsUsedUp(record)) << "more steps are no more time";
  job.mutable_spec()->mutable_training()->set_max_minutes(6);
  EXPECT_FALSE(BudgetIsUsedUp(record));
  *job.mutable_last_step() = StepAt(20);
  EXPECT_TRUE(BudgetIsUsedUp(record));
}

TEST(Lifecycle, AJobThatWaitsInVainFails) {
  JobRecord record = QueuedJob("x");
  FailForDependency(record, "jobs/y was cancelled", kNow);
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(record.job().reason(), v1::JOB_REASON_DEPENDENCY_FAILED);
  EXPECT_EQ(record.job().state_message(), "jobs/y was cancelled");
}

TEST(Lifecycle, ALostWorkerEndsItsTasksAndTheAttempt) {
  JobRecord record = QueuedJob("x");
  StartAttempt(record, {{"a", "a1", 0}, {"b", "b1", 0}}, {}, kNow);
  EXPECT_FALSE(OnWorkerGone(record, "c", "", "gone", kNow));
  EXPECT_FALSE(OnWorkerGone(record, "a", "a1", "gone", kNow)) << "this incarnation is spared";
  EXPECT_TRUE(OnWorkerGone(record, "a", "a2", "was started anew", kNow));
  EXPECT_EQ(record.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_THAT(record.job().state_message(), HasSubstr("workers/a: was started anew"));
  EXPECT_TRUE(HoldsSlots(record)) << "the rank on b still runs";
  EXPECT_TRUE(OnWorkerGone(record, "b", "", "no heartbeat", kNow));
  EXPECT_FALSE(HoldsSlots(record));
  EXPECT_EQ(record.job().restarts(), 1);
}

TEST(Lifecycle, OldEpochsHaveNoLiveTasks) {
  JobRecord record = StartedJob("x");
  ASSERT_NE(FindLiveTask(record, "x/1/0"), nullptr);
  OnTaskExited(record, "x/1/1", ExitCode(1), kNow);
  EXPECT_EQ(FindLiveTask(record, "x/1/0"), nullptr);
  EXPECT_EQ(FindLiveTask(record, "x/2/0"), nullptr);
}

TEST(Lifecycle, KeepsTheLastTwentyWarnings) {
  JobRecord record = QueuedJob("x");
  for (int i = 0; i < 30; ++i) AddWarning(record, "warning " + std::to_string(i));
  ASSERT_EQ(record.job().warnings_size(), 20);
  EXPECT_EQ(record.job().warnings(0), "warning 10");
  EXPECT_EQ(record.job().warnings(19), "warning 29");
}

TEST(Lifecycle, AJobHasTimeToStopByHowLongItsCheckpointsTake) {
  JobRecord record = QueuedJob("x");
  EXPECT_EQ(StopGraceOf(record), kStopGrace);
  record.set_last_write_seconds(100);
  EXPECT_EQ(StopGraceOf(record), absl::Seconds(300));
  for (const double much : {1e9, std::numeric_limits<double>::infinity()}) {
    record.set_last_write_seconds(much);
    EXPECT_EQ(StopGraceOf(record), kLongestStopGrace);
  }
  for (const double none : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    record.set_last_write_seconds(none);
    EXPECT_EQ(StopGraceOf(record), kStopGrace);
  }
}

TEST(Lifecycle, LongTextsAreCutBetweenCharacters) {
  JobRecord record = QueuedJob("x");
  std::string text = "x";
  for (int i = 0; i < 2000; ++i) text += "é";
  AddWarning(record, text);
  v1::Job copy;
  EXPECT_TRUE(copy.ParseFromString(record.job().SerializeAsString()));
  EXPECT_LE(copy.warnings(0).size(), 1003u);
}

}  // namespace
}  // namespace wavefield::coordinator
