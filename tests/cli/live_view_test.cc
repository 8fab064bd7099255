// The page of `wavefield watch`, line by line.
#include "cli/views/live_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cli/views/display_text.h"

namespace wavefield {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(10000);

v1::StepMetrics MakeStep(int64_t step, double loss) {
  v1::StepMetrics metrics;
  metrics.set_step(step);
  metrics.set_attempt(2);
  metrics.set_loss(loss);
  metrics.set_perplexity(std::exp(loss));
  metrics.set_accuracy(0.25);
  metrics.set_grad_norm(0.5);
  metrics.set_learning_rate(0.002);
  metrics.set_tokens(2048);
  metrics.set_step_seconds(0.5);
  metrics.set_matmul_rate_ratio(0.6);
  metrics.set_rank_skew_seconds(0.012);
  metrics.set_slowest_rank(1);
  metrics.mutable_phase_seconds()->set_forward(0.2);
  metrics.mutable_phase_seconds()->set_backward(0.25);
  metrics.mutable_phase_seconds()->set_communicate(0.05);
  return metrics;
}

LiveState RunningJob() {
  v1::WatchJobResponse update;
  v1::Job& job = *update.mutable_job();
  job.set_name("jobs/first");
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_state_message("trains, resumed before step 101");
  job.mutable_start_time()->set_seconds(10000 - 723);
  job.set_max_steps(400);
  job.set_restarts(1);
  job.mutable_spec()->mutable_restart()->set_max_restarts(3);
  job.mutable_spec()->mutable_resources()->set_world_size(4);
  for (int rank = 0; rank < 4; ++rank) {
    v1::RankPlacement& placement = *job.add_placements();
    placement.set_rank(rank);
    placement.set_worker(rank == 2 ? "workers/b" : "workers/a");
  }
  job.set_latest_checkpoint("jobs/first/checkpoints/100-1");
  job.add_warnings("attempt 1: rank 0 on workers/a ended with signal 9 (Killed)");
  job.mutable_goodput()->set_total(60000);
  job.mutable_goodput()->set_useful_steps(45000);
  for (int step = 101; step <= 108; ++step) *update.add_steps() = MakeStep(step, 109 - step);
  LiveState state;
  state.Apply(update, kNow);
  return state;
}

TEST(LiveViewTest, AWidePageShowsEverythingOfARunningJob) {
  EXPECT_THAT(
      RenderLiveView(RunningJob(), {.width = 80}, kNow),
      ElementsAre(
          "first  RUNNING: trains, resumed before step 101                           12m03s",
          "[##########----------------------------]  27 %  step 108/400  ETA 2m26s",
          "loss        1.0000  perplexity 2.72  accuracy 25.0 %",
          "            █▇▆▅▄▃▂▁  steps 101 to 108",
          "speed       4.1k tokens/s  500ms a step  rate ratio 0.60",
          "optimizer   learning rate 0.002  gradient norm 0.5",
          "step time   forward 40 %  backward 50 %  communicate 10 %",
          "ranks       4:  0-1,3 on a  2 on b  skew 12ms, slowest rank 1",
          "goodput     75 % useful steps  of 1m00s of slots", "checkpoint  first@100-1",
          "restarts    1 of 3",
          "warning     attempt 1: rank 0 on workers/a ended with signal 9 (Killed)"));
}

TEST(LiveViewTest, ANarrowPageWrapsBetweenFiguresAndCutsWhatIsTooLong) {
  EXPECT_THAT(RenderLiveView(RunningJob(), {.width = 34, .unicode = false}, kNow),
              ElementsAre("first  RUNNING: trains, ..  12m03s", "27 %  step 108/400  ETA 2m26s",
                          "loss        1.0000", "            perplexity 2.72",
                          "            accuracy 25.0 %", "            @#*+=-:.",
                          "            steps 101 to 108", "speed       4.1k tokens/s",
                          "            500ms a step", "            rate ratio 0.60",
                          "optimizer   learning rate 0.002", "            gradient norm 0.5",
                          "step time   forward 40 %", "            backward 50 %",
                          "            communicate 10 %", "ranks       4:  0-1,3 on a  2 on b",
                          "            skew 12ms, slowest r..", "goodput     75 % useful steps",
                          "            of 1m00s of slots", "checkpoint  first@100-1",
                          "restarts    1 of 3", "warning     attempt 1: rank 0 on.."));
}

TEST(LiveViewTest, AJobThatWaitsShowsWhy) {
  LiveState state;
  state.job.set_name("jobs/second");
  state.job.set_state(v1::JOB_STATE_QUEUED);
  state.job.set_state_message("needs 2 slots, 1 is free");
  state.job.mutable_create_time()->set_seconds(10000 - 61);
  state.job.mutable_spec()->mutable_resources()->set_world_size(2);
  EXPECT_THAT(
      RenderLiveView(state, {.width = 60}, kNow),
      ElementsAre("second  QUEUED: needs 2 slots, 1 is free               1m01s", "ranks       2"));
}

TEST(LiveViewTest, NoLineIsWiderThanTheTerminal) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  LiveState state = RunningJob();
  state.job.set_state_message("größer — ✓ " + std::string(random() % 200, 'x'));
  state.lost_connection = std::string(random() % 200, 'y');
  for (int width = 1; width <= 200; ++width) {
    for (const std::string& line : RenderLiveView(state, {.width = width}, kNow)) {
      EXPECT_LE(DisplayWidth(line), static_cast<size_t>(width)) << line;
    }
  }
}

TEST(LiveViewTest, TextFromElsewhereCannotCommandTheTerminal) {
  LiveState state = RunningJob();
  state.job.set_state_message("red \x1b[31m \xC2\x9B and\nlines of a log");
  state.job.add_warnings("bell \a");
  state.lost_connection = "\x1b]0;title\a";
  const auto lines = RenderLiveView(state, {.width = 300}, kNow);
  EXPECT_THAT(lines, Each(Not(testing::ContainsRegex("[\x01-\x1f\x7f]"))));
  EXPECT_THAT(lines, Each(Not(HasSubstr("\xC2\x9B"))));
  EXPECT_THAT(lines[0], HasSubstr("red \\x1b[31m \\u009b and"));
}

TEST(LiveViewTest, ALostConnectionAndSilenceAreSaid) {
  LiveState state = RunningJob();
  state.lost_connection = "nobody answers";
  const auto lines = RenderLiveView(state, {.width = 80}, kNow + absl::Seconds(45));
  EXPECT_EQ(lines[1], "connection  lost, trying to get it back: nobody answers");
  EXPECT_THAT(lines, Contains("            no step for 45.0s"));
  state.Apply({}, kNow);
  EXPECT_THAT(RenderLiveView(state, {.width = 80}, kNow), Each(Not(HasSubstr("connection"))));
}

TEST(LiveViewTest, AJobThatEndedHasNoEstimate) {
  LiveState state = RunningJob();
  state.job.set_state(v1::JOB_STATE_FAILED);
  state.job.mutable_end_time()->set_seconds(10000 - 23);
  const auto lines = RenderLiveView(state, {.width = 80}, kNow + absl::Hours(1));
  EXPECT_THAT(lines[0], testing::EndsWith(" 11m40s"));
  EXPECT_THAT(lines, Each(Not(HasSubstr("ETA"))));
  EXPECT_THAT(lines, Each(Not(HasSubstr("no step for"))));
}

TEST(LiveStateTest, StepsThatALaterAttemptDoesAgainReplaceTheOldOnes) {
  LiveState state = RunningJob();
  v1::StepMetrics again = MakeStep(105, 9);
  again.set_attempt(3);
  state.AddStep(again);
  ASSERT_EQ(state.recent.size(), 5u);
  EXPECT_EQ(state.recent.back().loss(), 9);
  state.AddStep(MakeStep(106, 1));
  EXPECT_EQ(state.recent.size(), 5u) << "of an attempt that is over";
  for (int64_t step = 106; step < 2000; ++step) {
    again.set_step(step);
    state.AddStep(again);
  }
  EXPECT_EQ(state.recent.size(), LiveState::kRecentSteps);
  EXPECT_EQ(state.recent.back().step(), 1999);
}

TEST(SparklineTest, ShowsMeansOfEqualSharesAndMarksWhatIsNotFinite) {
  EXPECT_EQ(RenderSparkline({0, 7}, 10, true), "▁█");
  EXPECT_EQ(RenderSparkline({0, 1, 2, 3, 4, 5, 6, 7}, 10, false), ".:-=+*#@");
  EXPECT_EQ(RenderSparkline({0, 0, 14, 14, 7, 7}, 3, false), ".@+");
  EXPECT_EQ(RenderSparkline({0, std::nan(""), HUGE_VAL, 1}, 4, false), ".!!@");
  EXPECT_EQ(RenderSparkline({3, 3}, 2, false), "..");
  EXPECT_EQ(RenderSparkline({std::nan("")}, 2, false), "!");
  EXPECT_EQ(RenderSparkline({-1e308, 0, 1e308}, 3, false), ".+@");
  EXPECT_EQ(RenderSparkline({1e308, 1e308, -1e308, -1e308}, 2, false), "@.");
  EXPECT_EQ(RenderSparkline({1e308, 1e308, 1e308, 1e308}, 2, false), "..");
  EXPECT_EQ(RenderSparkline({0, 5e-324}, 2, false), ".@");
  EXPECT_EQ(RenderSparkline({}, 2, false), "");
  EXPECT_EQ(RenderSparkline({1}, 0, false), "");
}

}  // namespace
}  // namespace wavefield
