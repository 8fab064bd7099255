// The account of the time that jobs hold slots: which bucket gets what, and that nothing is lost or
// counted twice, whatever happens.
#include <gtest/gtest.h>

#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/lifecycle.h"
#include "tests/coordinator/record_fixtures.h"

namespace wavefield::coordinator {
namespace {

// One job, and a trainer whose process starts `kLead` after the attempt. Times in milliseconds.
class GoodputTest : public testing::Test {
 protected:
  static constexpr int64_t kLead = 400;

  explicit GoodputTest(int world_size = 1) : record_(QueuedJob("x", world_size)) { Start(); }

  absl::Time Now() const { return absl::FromUnixSeconds(1'700'000'000) + elapsed_; }
  void Sleep(int64_t milliseconds) { elapsed_ += absl::Milliseconds(milliseconds); }

  void Start() {
    std::vector<Placement> placements;
    const int ranks = record_.job().spec().resources().world_size();
    for (int slot = 0; slot < ranks; ++slot) placements.push_back({"a", "a1", slot});
    StartAttempt(record_, placements, {}, Now());
    Sleep(kLead);
    born_ = elapsed_;
  }

  // After `milliseconds` more of the trainer's life, which are the coordinator's as well unless the
  // report is `late`.
  void Report(int64_t milliseconds, v1::TrainerEvent event, bool late = false) {
    uptime_ = (late ? uptime_ : elapsed_ - born_) + absl::Milliseconds(milliseconds);
    if (!late) Sleep(milliseconds);
    event.set_uptime_seconds(absl::ToDoubleSeconds(uptime_));
    CountReport(record_, event, Now());
    if (event.has_training_started()) {
      OnTrainingStarted(record_, event.training_started(), Now());
    }
    if (event.has_step()) *record_.mutable_job()->mutable_last_step() = event.step();
    if (event.has_finished()) OnTrainingFinished(record_, event.finished());
    CheckSum();
  }

  static v1::TrainerEvent Begins(int64_t first_step = 1) {
    v1::TrainerEvent event;
    *event.mutable_training_started() = Started(first_step);
    return event;
  }
  static v1::TrainerEvent Step(int64_t step, double seconds, double data = 0,
                               double communicate = 0, double checkpoint = 0) {
    v1::TrainerEvent event;
    *event.mutable_step() = StepAt(step);
    event.mutable_step()->set_step_seconds(seconds);
    auto& phases = *event.mutable_step()->mutable_phase_seconds();
    phases.set_data(data);
    phases.set_communicate(communicate);
    phases.set_checkpoint(checkpoint);
    return event;
  }
  static v1::TrainerEvent Evaluated(int64_t step, double seconds) {
    v1::TrainerEvent event;
    event.mutable_evaluation()->set_step(step);
    event.mutable_evaluation()->set_seconds(seconds);
    return event;
  }
  static v1::TrainerEvent Saved(int64_t step, double seconds) {
    v1::TrainerEvent event;
    event.mutable_checkpoint_saved()->set_step(step);
    event.mutable_checkpoint_saved()->set_seconds(seconds);
    return event;
  }
  static v1::TrainerEvent Ends(int64_t step, bool stopped = false) {
    v1::TrainerEvent event;
    event.mutable_finished()->set_step(step);
    event.mutable_finished()->set_stopped(stopped);
    return event;
  }
  static v1::TrainerEvent Warns() {
    v1::TrainerEvent event;
    event.set_warning("the gradient norm is not finite");
    return event;
  }

  void Exit(const v1::TaskExited& how, int rank = 0) {
    OnTaskExited(record_, TaskId("x", record_.job().epoch(), rank), how, Now());
    CheckSum();
  }

  const v1::Goodput& goodput() const { return record_.job().goodput(); }
  void CheckSum() const {
    const v1::Goodput& g = goodput();
    EXPECT_EQ(g.total(), g.startup() + g.useful_steps() + g.redone_steps() + g.data_wait() +
                             g.communication() + g.checkpoint_stall() + g.evaluation() +
                             g.recovery() + g.hang() + g.idle());
  }

  JobRecord record_;
  absl::Duration elapsed_;
  absl::Duration born_;
  absl::Duration uptime_;
};

class GoodputOfTwoTest : public GoodputTest {
 protected:
  GoodputOfTwoTest() : GoodputTest(2) {}
};

TEST_F(GoodputTest, ARunWithoutTroubleIsSplitByWhatItWasSpentOn) {
  Report(5000, Begins());
  Report(1000, Step(1, 1.0, 0.1, 0.2));
  Report(1100, Step(2, 1.0, 0.1, 0.2));  // 0.1 s between the two
  Report(2000, Evaluated(2, 1.9));
  v1::TrainerEvent health;
  health.mutable_field_health()->set_step(2);
  Report(500, health);
  Report(3000, Saved(2, 2.9));
  Report(1000, Step(3, 4.0, 0.1, 0.2, 3.0));  // its seconds include the checkpoint
  Report(250, Ends(3));
  Sleep(150);
  Exit(ExitCode(0));
  ASSERT_EQ(record_.job().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(goodput().startup(), 5000 + kLead) << "the way to the trainer's process is in it";
  EXPECT_EQ(goodput().data_wait(), 300);
  EXPECT_EQ(goodput().communication(), 600);
  EXPECT_EQ(goodput().useful_steps(), 2100);
  EXPECT_EQ(goodput().evaluation(), 2500);
  EXPECT_EQ(goodput().checkpoint_stall(), 3000);
  EXPECT_EQ(goodput().idle(), 100 + 250 + 150);
  EXPECT_EQ(goodput().redone_steps() + goodput().recovery() + goodput().hang(), 0);
  EXPECT_EQ(goodput().total(), kLead + 14000);
}

TEST_F(GoodputOfTwoTest, SlotsAreCountedUntilTheirOwnRankHasEnded) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  EXPECT_EQ(goodput().useful_steps(), 2000) << "what rank 0 reports goes for all";
  Report(1000, Ends(1));
  Exit(ExitCode(0), 1);
  Sleep(7000);
  Exit(ExitCode(0), 0);
  EXPECT_EQ(goodput().total(), 2 * (kLead + 3000) + 7000);
  EXPECT_EQ(goodput().idle(), 2 * 1000 + 7000);
}

TEST_F(GoodputOfTwoTest, ARankWhoseEndIsHeardOfFirstStillHasItsPartOfTheSteps) {
  Report(1000, Begins());
  Sleep(60'000);
  Exit(ExitCode(0), 1);
  for (int64_t step = 1; step <= 60; ++step) Report(1000, Step(step, 1.0), /*late=*/true);
  Report(0, Ends(60), /*late=*/true);
  Exit(ExitCode(0), 0);
  EXPECT_EQ(goodput().useful_steps(), 2 * 60'000);
  EXPECT_EQ(goodput().idle(), 0);
}

TEST_F(GoodputTest, StepsOfAnEarlierAttemptAreRedone) {
  Report(1000, Begins());
  for (int64_t step = 1; step <= 10; ++step) Report(1000, Step(step, 1.0));
  Sleep(2000);
  Exit(ExitSignal(9));
  ASSERT_EQ(record_.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(goodput().recovery(), 2000);
  EXPECT_EQ(goodput().total(), kLead + 13'000);
  Sleep(50'000);  // waits without a slot
  Start();
  Report(3000, Begins(5));
  for (int64_t step = 5; step <= 12; ++step) Report(1000, Step(step, 1.0, 0.25));
  EXPECT_EQ(goodput().recovery(), 2000 + 3000);
  EXPECT_EQ(goodput().redone_steps(), 6 * 750);
  EXPECT_EQ(goodput().useful_steps(), 10'000 + 2 * 750);
  EXPECT_EQ(goodput().data_wait(), 8 * 250);
  Exit(ExitSignal(9));
  EXPECT_EQ(goodput().recovery(), 2000 + kLead + 3000);
  Start();
  Report(1000, Begins(2));
  Report(1000, Step(2, 1.0));
  EXPECT_EQ(goodput().redone_steps(), 6 * 750 + 1000);
  Exit(ExitSignal(9));
  Start();
  Report(1000, Begins(12));
  Report(1000, Step(12, 1.0));
  EXPECT_EQ(goodput().redone_steps(), 6 * 750 + 2000) << "the last attempt did not get that far";
}

TEST_F(GoodputTest, AnAttemptThatNeverTrainsIsStartupOnceAndThenRecovery) {
  Sleep(60'000);
  EXPECT_EQ(goodput().total(), 0);
  EXPECT_EQ(GoodputAt(record_, Now()).startup(), kLead + 60'000) << "seen while it goes on";
  Exit(ExitCode(1));
  EXPECT_EQ(goodput().startup(), kLead + 60'000);
  Start();
  Sleep(9000);
  EXPECT_EQ(GoodputAt(record_, Now()).recovery(), kLead + 9000);
  Exit(ExitCode(1));
  EXPECT_EQ(goodput().recovery(), kLead + 9000);
  EXPECT_EQ(goodput().hang(), 0);
}

TEST_F(GoodputTest, ALongSilenceBeforeAFailureIsAHang) {
  Report(1000, Begins());
  Report(10'000, Step(1, 10.0));
  Sleep(50'000);
  EXPECT_EQ(GoodputAt(record_, Now()).hang(), 0) << "five steps are not over";
  Sleep(1);
  EXPECT_EQ(GoodputAt(record_, Now()).hang(), 50'001);
  EXPECT_EQ(GoodputAt(record_, Now()).total(), kLead + 61'001);
  EXPECT_EQ(goodput().hang(), 0) << "not decided yet";
  // Its last words come after the silence, and do not end it.
  v1::TrainerEvent fatal;
  fatal.mutable_failure()->set_message("no peer answered for 30 min");
  Report(100, fatal);
  Exit(ExitCode(1));
  EXPECT_EQ(goodput().hang(), 50'101);
  EXPECT_EQ(goodput().recovery(), 0);
}

TEST_F(GoodputTest, ASilenceThatHasBeenSeenBeforeIsNoHang) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  Report(90'000, Evaluated(1, 90.0));
  Sleep(89'000);
  EXPECT_EQ(GoodputAt(record_, Now()).hang(), 0);
  Exit(ExitSignal(9));
  EXPECT_EQ(goodput().recovery(), 89'000);
}

TEST_F(GoodputTest, ALostWorkerIsNoHang) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  Sleep(600'000);
  EXPECT_TRUE(OnWorkerGone(record_, "a", "", "no heartbeat", Now()));
  EXPECT_EQ(goodput().recovery(), 600'000);
  EXPECT_EQ(goodput().hang(), 0);
}

TEST_F(GoodputTest, AStopOnRequestIsIdle) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  RequestCancel(record_, Now());
  Report(2000, Saved(1, 2.0));
  Report(10, Ends(1, /*stopped=*/true));
  Sleep(700);
  Exit(ExitCode(0));
  ASSERT_EQ(record_.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(goodput().checkpoint_stall(), 2000);
  EXPECT_EQ(goodput().idle(), 710);
}

TEST_F(GoodputTest, AJobGivenUpBecauseItHangsHasHung) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  Sleep(3'600'000);
  RequestCancel(record_, Now());
  Sleep(60'000);
  ForceStop(record_, "did not stop", Now());
  EXPECT_EQ(goodput().hang(), 3'660'000);
  Sleep(5000);
  EXPECT_EQ(GoodputAt(record_, Now()).idle(), 5000) << "it holds its slot still";
  OnTaskExited(record_, "x/1/0", ExitSignal(9), Now());
  EXPECT_EQ(goodput().idle(), 5000);
  EXPECT_EQ(goodput().total(), kLead + 2000 + 3'665'000);
}

TEST_F(GoodputOfTwoTest, SlotsThatAreHeldAfterAFailureAreRecovery) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  Exit(ExitSignal(9), 1);
  Sleep(10'000);
  EXPECT_EQ(GoodputAt(record_, Now()).recovery(), 10'000);
  OnTaskExited(record_, "x/1/0", ExitSignal(9), Now());
  EXPECT_EQ(goodput().recovery(), 10'000);
  EXPECT_EQ(goodput().total(), 2 * (kLead + 2000) + 10'000);
}

TEST_F(GoodputTest, ReportsThatComeLateCountByTheTrainersClock) {
  Report(1000, Begins());
  Sleep(3'600'000);
  for (int64_t step = 1; step <= 100; ++step) Report(1000, Step(step, 1.0), /*late=*/true);
  EXPECT_EQ(goodput().useful_steps(), 100'000);
  EXPECT_EQ(goodput().idle(), 0);
}

TEST_F(GoodputTest, AStartThatIsHeardOfLateWasNotLonger) {
  Sleep(60'000);
  Report(1000, Begins(), /*late=*/true);
  Report(0, Step(1, 59.0));
  Sleep(2000);
  Exit(ExitSignal(9));
  EXPECT_EQ(goodput().startup(), kLead + 1000);
  EXPECT_EQ(goodput().useful_steps(), 59'000);
  EXPECT_EQ(goodput().recovery(), 2000);
}

TEST_F(GoodputTest, MoreThanIsHeldIsNeverCounted) {
  Report(1000, Begins());
  Sleep(3000);
  Report(100'000, Step(1, 100.0), /*late=*/true);
  EXPECT_EQ(goodput().useful_steps(), kLead + 3000);
  for (const double uptime : {std::nan(""), 1e300, -5.0}) {
    v1::TrainerEvent event = Step(2, uptime, uptime, uptime);
    event.set_uptime_seconds(uptime);
    CountReport(record_, event, Now());
    CheckSum();
  }
  EXPECT_EQ(goodput().total(), kLead + 4000);
}

TEST_F(GoodputTest, StepsThatWereLeftOutCountLikeTheNext) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0, 0.5));
  Report(10'000, Step(11, 0.9, 0.3));
  EXPECT_EQ(goodput().data_wait(), 500 + 3000);
  EXPECT_EQ(goodput().useful_steps(), 500 + 6000);
  EXPECT_EQ(goodput().idle(), 1000);
  Report(7000, Evaluated(16, 2.0));  // five steps, and itself
  EXPECT_EQ(goodput().useful_steps(), 500 + 6000 + 5000);
  EXPECT_EQ(goodput().evaluation(), 2000);
  Report(9000, Saved(20, 1.0));
  EXPECT_EQ(goodput().useful_steps(), 500 + 6000 + 5000 + 8000);
  EXPECT_EQ(goodput().checkpoint_stall(), 1000);
}

TEST_F(GoodputTest, StepsThatWereLeftOutAreRedoneAsFarAsTheyWere) {
  Report(0, Begins());
  Report(6000, Step(6, 1.0));
  Exit(ExitSignal(9));
  Start();
  Report(0, Begins());
  Report(10'000, Step(10, 1.0));
  EXPECT_EQ(goodput().redone_steps(), 6000);
  EXPECT_EQ(goodput().useful_steps(), 6000 + 4000);
}

TEST_F(GoodputTest, AWarningAmidAStepDoesNotTakeItsTime) {
  Report(1000, Begins());
  Report(900, Warns());
  Report(100, Step(1, 1.0));
  EXPECT_EQ(goodput().useful_steps(), 1000);
  EXPECT_EQ(goodput().idle(), 0);
}

TEST_F(GoodputTest, ACheckpointBehindTrainingStallsForItsCopyAlone) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  v1::TrainerEvent saved = Saved(1, 0.25);
  saved.mutable_checkpoint_saved()->set_write_seconds(0.75);
  Report(750, saved);  // amid the step
  Report(550, Step(2, 1.25, 0.1, 0.2, 0.25));
  EXPECT_EQ(goodput().checkpoint_stall(), 250);
  EXPECT_EQ(goodput().data_wait(), 100);
  EXPECT_EQ(goodput().communication(), 200);
  EXPECT_EQ(goodput().useful_steps(), 1000 + 700);
  EXPECT_EQ(goodput().idle(), 50);
}

TEST_F(GoodputTest, AFailedCheckpointStallsLikeOneThatWasWritten) {
  Report(1000, Begins());
  v1::TrainerEvent failed;
  failed.mutable_checkpoint_failed()->set_step(0);
  Report(4000, failed);
  Report(1000, Step(1, 5.0, 0, 0, 4.0));
  EXPECT_EQ(goodput().checkpoint_stall(), 4000);
  EXPECT_EQ(goodput().useful_steps(), 1000);
}

TEST_F(GoodputTest, TrainersThatDoNotTellTheirUptimeCountFromReportToReport) {
  const auto report = [&](int64_t milliseconds, v1::TrainerEvent event) {
    Sleep(milliseconds);
    CountReport(record_, event, Now());
    if (event.has_training_started()) OnTrainingStarted(record_, Started(), Now());
  };
  report(2000, Begins());
  report(1500, Step(1, 1.0));
  EXPECT_EQ(goodput().startup(), kLead + 2000);
  EXPECT_EQ(goodput().useful_steps(), 1000);
  EXPECT_EQ(goodput().idle(), 500);
}

TEST_F(GoodputTest, AClockThatStepsBackTakesNothingAway) {
  Report(1000, Begins());
  Report(1000, Step(1, 1.0));
  elapsed_ -= absl::Hours(1);
  EXPECT_EQ(GoodputAt(record_, Now()).total(), 2000);
  CountHeld(record_, Now());
  Sleep(700);
  Exit(ExitSignal(9));
  EXPECT_EQ(goodput().recovery(), 700);
  EXPECT_EQ(goodput().total(), kLead + 2700);
}

TEST_F(GoodputTest, ARunningJobOfAnOlderVersionCountsFromNow) {
  Report(1000, Begins());
  Report(1000, Step(500, 1.0));
  record_.clear_ledger();
  record_.mutable_job()->clear_goodput();
  record_.mutable_tasks(0)->clear_held_ms();
  record_.mutable_tasks(0)->clear_accounted_ms();
  EXPECT_EQ(GoodputAt(record_, Now()).total(), 0);
  Report(1000, Step(501, 1.0));
  EXPECT_EQ(goodput().total(), 0) << "how long it has been held is not known";
  Report(1000, Step(502, 1.0));
  EXPECT_EQ(goodput().total(), 1000);
  EXPECT_EQ(goodput().useful_steps(), 1000);
  Exit(ExitSignal(9));
  Start();
  Report(0, Begins(500));
  Report(4000, Step(503, 1.0));
  EXPECT_EQ(goodput().redone_steps(), 3000);
}

TEST_F(GoodputTest, AnEndedJobOfAnOlderVersionShowsNothing) {
  record_.Clear();
  record_.mutable_job()->set_state(v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(GoodputAt(record_, Now()).total(), 0);
}

}  // namespace
}  // namespace wavefield::coordinator
