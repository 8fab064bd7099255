// Series of jobs and workers: which there are, and when they go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "coordinator/jobs/timestamps.h"
#include "coordinator/metrics/job_series.h"
#include "coordinator/metrics/label_values.h"
#include "coordinator/metrics/loss_statistics.h"
#include "coordinator/metrics/worker_series.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/coordinator/scrape.h"
#include "tests/support/random_inputs.h"

namespace wavefield::coordinator {
namespace {

using ::testing::HasSubstr;

constexpr Metric kGaugeA{Metric::Type::kGauge, "a", "A gauge."};
constexpr Metric kCounterB{Metric::Type::kCounter, "b_total", "A counter."};
constexpr double kBounds[] = {0.5, 2};
constexpr Metric kHistogramC{Metric::Type::kHistogram, "c", "A histogram.", kBounds};

TEST(SeriesTable, FamiliesStandTogetherWithHelpAndType) {
  SeriesTable table(100);
  SeriesGroup x(table, {{"job", "x"}}), y(table, {{"job", "y"}}), own(table, {});
  y.Set(kGaugeA, 1e10);
  x.Set(kGaugeA, 0.25, {{"layer", "1"}});
  own.Set(kGaugeA, -3);
  x.Add(kCounterB, 2);
  x.Add(kCounterB, 0.5);
  EXPECT_EQ(table.Text(),
            "# HELP a A gauge.\n# TYPE a gauge\n"
            "a -3\na{job=\"x\",layer=\"1\"} 0.25\na{job=\"y\"} 1e+10\n"
            "# HELP b_total A counter.\n# TYPE b_total counter\nb_total{job=\"x\"} 2.5\n");
}

TEST(SeriesTable, AHistogramHasCumulativeBuckets) {
  SeriesTable table(100);
  SeriesGroup own(table, {});
  for (const double value : {0.5, 0.51, 7.0}) own.Observe(kHistogramC, value);
  EXPECT_THAT(table.Text(), HasSubstr("c_bucket{le=\"0.5\"} 1\nc_bucket{le=\"2\"} 2\n"
                                      "c_bucket{le=\"+Inf\"} 3\nc_sum 8.01\nc_count 3\n"));
}

TEST(SeriesTable, ValuesOfLabelsAreEscaped) {
  SeriesTable table(100);
  SeriesGroup group(table, {{"model", "a\\b \"c\"\nd"}});
  group.Set(kGaugeA, 1);
  EXPECT_THAT(table.Text(), HasSubstr("a{model=\"a\\\\b \\\"c\\\"\\nd\"} 1\n"));
}

TEST(SeriesTable, WhatIsNotFiniteLeavesAValueAsItIs) {
  SeriesTable table(100);
  SeriesGroup group(table, {{"job", "x"}});
  group.Set(kGaugeA, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(table.Text(), "") << "a series does not begin with it either";
  group.Set(kGaugeA, 5);
  group.Set(kGaugeA, std::numeric_limits<double>::infinity());
  group.Observe(kHistogramC, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(ValueOf(table.Text(), "a{job=\"x\"}"), 5);
  EXPECT_EQ(table.shown(), 1);
}

TEST(SeriesTable, BeyondTheLimitValuesAreRefusedAndCountedUntilThereIsRoom) {
  SeriesTable table(6);
  SeriesGroup own(table, {}), x(table, {{"job", "x"}}), y(table, {{"job", "y"}});
  {
    SeriesGroup z(table, {{"job", "z"}});
    z.Observe(kHistogramC, 1);  // three buckets, sum and count
    x.Set(kGaugeA, 1);
    EXPECT_EQ(table.shown(), 6);
    y.Set(kGaugeA, 2);
    y.Set(kGaugeA, 3);
    EXPECT_EQ(table.refused(), 2);
    own.Set(kGaugeA, 4);
    EXPECT_EQ(ValueOf(table.Text(), "a"), 4) << "the cluster's own have no limit";
    EXPECT_FALSE(ValueOf(table.Text(), "a{job=\"y\"}"));
  }
  EXPECT_EQ(table.shown(), 1);
  y.Set(kGaugeA, 3);
  EXPECT_EQ(ValueOf(table.Text(), "a{job=\"y\"}"), 3);
  EXPECT_EQ(table.refused(), 2);
  y.Remove(kGaugeA);
  EXPECT_EQ(table.shown(), 1);
}

TEST(LabelValues, OfNumbersThatHaveNoNameAreUnknown) {
  EXPECT_EQ(NameOf(v1::JOB_STATE_RUNNING), "running");
  EXPECT_EQ(NameOf(v1::JOB_REASON_UNSPECIFIED), "none");
  EXPECT_EQ(NameOf(static_cast<v1::JobState>(99)), "unknown");
  EXPECT_EQ(NameOf(static_cast<v1::JobReason>(99)), "unknown");
}

TEST(SeriesTable, ASweepTakesWhatWasNotSetSinceTheLast) {
  SeriesTable table(100);
  SeriesGroup group(table, {{"worker", "a"}});
  group.Set(kGaugeA, 1, {{"gpu", "0"}});
  group.Set(kGaugeA, 1, {{"gpu", "1"}});
  group.Sweep();
  group.Set(kGaugeA, 2, {{"gpu", "1"}});
  group.Sweep();
  EXPECT_EQ(table.shown(), 1);
  EXPECT_EQ(ValueOf(table.Text(), "a{worker=\"a\",gpu=\"1\"}"), 2);
}

// Losses around a slowly falling mean, none of them six deviations off.
class Losses {
 public:
  double Next() { return 4 - 1e-3 * step_++ + noise_(random_); }

 private:
  std::mt19937_64 random_{testing::FreshSeed()};
  std::uniform_real_distribution<double> noise_{-0.1, 0.1};
  int step_ = 0;
};

TEST(LossStatistics, ASpikeIsCountedAndHidesNotTheNext) {
  LossStatistics statistics;
  Losses losses;
  for (int step = 1; step <= 300; ++step) EXPECT_FALSE(statistics.TakeSpike(losses.Next())) << step;
  EXPECT_TRUE(statistics.TakeSpike(60));
  EXPECT_TRUE(statistics.TakeSpike(60));
  EXPECT_FALSE(statistics.TakeSpike(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(statistics.TakeSpike(losses.Next()));
  EXPECT_FALSE(statistics.TakeSpike(0.1)) << "a fall is none";
}

TEST(LossStatistics, ThereAreNoneBeforeTheFiftiethStep) {
  LossStatistics statistics;
  Losses losses;
  for (int step = 1; step <= 48; ++step) statistics.TakeSpike(losses.Next());
  EXPECT_FALSE(statistics.TakeSpike(1000));
}

class JobSeriesTest : public ::testing::Test {
 protected:
  static constexpr absl::Duration kRetention = absl::Minutes(10);

  std::optional<double> Value(const std::string& series) { return ValueOf(table_.Text(), series); }
  std::optional<double> ValueOfX(const std::string& metric) {
    return Value(metric + "{training_job=\"x\"}");
  }
  double QueueWaits() {
    double sum = 0;
    for (const auto& family : registry_.Collect()) {
      if (family.name == "wavefield_job_queue_wait_seconds") {
        sum = family.metric[0].histogram.sample_sum;
      }
    }
    return sum;
  }
  static TrainingEvent Step(double loss, double grad_norm = 1) {
    v1::TrainerEvent event;
    event.mutable_step()->set_loss(loss);
    event.mutable_step()->set_grad_norm(grad_norm);
    return {"x", event};
  }

  prometheus::Registry registry_;
  CoordinatorMetrics metrics_{registry_};
  SeriesTable table_{1000};
  ManualClock clock_;
  JobSeries series_{table_, metrics_, clock_, kRetention};
};

TEST_F(JobSeriesTest, NonFiniteLossesAreCountedNotDrawnAndEndedJobsRetire) {
  JobRecord record = StartedJob("x", 1);
  *record.mutable_job()->mutable_last_step() = StepAt(2);
  series_.JobsCommitted({record});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  record.mutable_job()->mutable_last_step()->set_loss(nan);
  series_.JobsCommitted({record});
  series_.EventsCommitted({Step(nan), Step(1, nan), Step(1)});
  EXPECT_EQ(ValueOfX("wavefield_training_loss"), 0.5);
  EXPECT_EQ(ValueOfX("wavefield_training_non_finite_steps_total"), 2);
  record.mutable_job()->set_state(v1::JOB_STATE_FAILED);
  series_.JobsCommitted({record});
  series_.Retire();
  EXPECT_EQ(Value("wavefield_training_state{training_job=\"x\",state=\"failed\"}"), 1);
  EXPECT_FALSE(Value("wavefield_training_state{training_job=\"x\",state=\"starting\"}"));
  clock_.Advance(kRetention + absl::Minutes(1));
  series_.Retire();
  EXPECT_EQ(table_.Text(), "");
  EXPECT_EQ(table_.shown(), 0);
  series_.EventsCommitted({Step(1)});
  EXPECT_EQ(table_.Text(), "") << "what comes late brings nothing back";
}

TEST_F(JobSeriesTest, AJobWhoseOnlyStepsCameWithItsEndIsShown) {
  JobRecord record = StartedJob("x", 1);
  *record.mutable_job()->mutable_last_step() = StepAt(2);
  record.mutable_job()->set_state(v1::JOB_STATE_SUCCEEDED);
  *record.mutable_job()->mutable_end_time() = ToTimestamp(clock_.Now());
  series_.JobsCommitted({record});
  EXPECT_EQ(ValueOfX("wavefield_training_loss"), 0.5);
  clock_.Advance(kRetention + absl::Minutes(1));
  series_.Retire();
  series_.JobsCommitted({record});
  EXPECT_FALSE(ValueOfX("wavefield_training_loss"));
}

TEST_F(JobSeriesTest, TheQueueWaitIsFromTheWishToRunToTheAttempt) {
  JobRecord record = QueuedJob("x", 1);
  *record.mutable_job()->mutable_create_time() = ToTimestamp(clock_.Now());
  series_.JobsCommitted({record});
  EXPECT_EQ(table_.Text(), "");
  clock_.Advance(absl::Seconds(40));
  record.mutable_job()->set_state_message("still waits");
  series_.JobsCommitted({record});
  clock_.Advance(absl::Seconds(2));
  StartAttempt(record, {{"a", "a1", 0}}, {}, clock_.Now());
  series_.JobsCommitted({record});
  EXPECT_NEAR(QueueWaits(), 42, 1e-6);
  clock_.Advance(absl::Hours(1));
  OnTaskExited(record, "x/1/0", ExitSignal(9), clock_.Now());
  series_.JobsCommitted({record});
  clock_.Advance(absl::Seconds(3));
  StartAttempt(record, {{"a", "a1", 0}}, {}, clock_.Now());
  series_.JobsCommitted({record});
  EXPECT_NEAR(QueueWaits(), 45, 1e-6);
  EXPECT_EQ(Value("wavefield_training_restarts_total{training_job=\"x\",reason=\"rank_died\"}"), 1);
  EXPECT_EQ(ValueOfX("wavefield_training_attempts_total"), 2);
}

TEST_F(JobSeriesTest, SpikesRefusedCheckpointsAndGoodputAreCounted) {
  JobRecord record = StartedJob("x", 1);
  v1::Goodput& goodput = *record.mutable_job()->mutable_goodput();
  goodput.set_useful_steps(1500);
  goodput.set_hang(250);
  series_.JobsCommitted({record});
  std::vector<TrainingEvent> events;
  for (int step = 1; step <= 100; ++step) events.push_back(Step(step % 2 == 0 ? 2.0 : 2.1));
  events.push_back(Step(90));
  v1::TrainerEvent started;
  started.mutable_training_started()->set_refused_checkpoints(3);
  events.emplace_back("x", started);
  series_.EventsCommitted(events);
  EXPECT_EQ(ValueOfX("wavefield_training_loss_spikes_total"), 1);
  EXPECT_EQ(ValueOfX("wavefield_training_checkpoint_verification_failures_total"), 3);
  EXPECT_EQ(ValueOfX("wavefield_training_step_duration_seconds_count"), 101);
  const auto bucket = [&](const std::string& name) {
    return Value("wavefield_goodput_slot_seconds_total{training_job=\"x\",bucket=\"" + name +
                 "\"}");
  };
  EXPECT_EQ(bucket("useful_steps"), 1.5);
  EXPECT_EQ(bucket("hang"), 0.25);
  EXPECT_EQ(bucket("idle"), 0);
}

TEST_F(JobSeriesTest, TheMedianIsOverHeadsThatAreFinite) {
  series_.JobsCommitted({StartedJob("x", 1)});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  v1::FieldHealth health;
  for (const auto& frequencies : {std::vector{nan, 3.0, nan, -1.0}, std::vector{nan, nan}}) {
    v1::LayerHealth& layer = *health.add_layers();
    for (const double frequency : frequencies) layer.add_heads()->set_frequency(frequency);
  }
  series_.ShowFieldHealth("x", health);
  const std::string name = "wavefield_field_frequency_radians{training_job=\"x\",layer=\"";
  EXPECT_EQ(Value(name + "0\"}"), 2);
  EXPECT_FALSE(Value(name + "1\"}"));
}

TEST(WorkerSeries, OfAWorkerThatWasLostBeforeItWasEverSeenNothingIsShown) {
  SeriesTable table(1000);
  ManualClock clock;
  WorkerSeries series(table, clock, absl::Minutes(10));
  v1::Worker worker;
  worker.set_name("workers/a");
  worker.set_state(v1::WORKER_STATE_LOST);
  series.Show({worker});
  EXPECT_EQ(table.Text(), "");
  worker.mutable_heartbeat_age()->set_seconds(1);  // it holds work, and is waited for
  series.Show({worker});
  worker.clear_heartbeat_age();
  series.Show({worker});
  EXPECT_EQ(ValueOf(table.Text(), "wavefield_worker_up{worker=\"a\"}"), 0);
  clock.Advance(absl::Minutes(11));
  for (int scrape = 0; scrape < 2; ++scrape) {
    series.Show({worker});
    EXPECT_EQ(table.Text(), "");
  }
}

TEST(WorkerSeries, TheSeriesOfWorkersThatAreGoneOrLongLostVanish) {
  SeriesTable table(1000);
  ManualClock clock;
  WorkerSeries series(table, clock, absl::Minutes(10));
  v1::Worker worker;
  worker.set_name("workers/a");
  worker.set_state(v1::WORKER_STATE_READY);
  *worker.add_gpus() = FakeGpu(3, 2);
  worker.mutable_gpus(0)->mutable_telemetry()->set_utilization(0.5);
  const std::string utilization = "wavefield_gpu_utilization_ratio{worker=\"a\",gpu=\"3\"}";
  const std::string up = "wavefield_worker_up{worker=\"a\"}";
  series.Show({worker});
  EXPECT_EQ(ValueOf(table.Text(), utilization), 0.5);
  EXPECT_EQ(ValueOf(table.Text(), up), 1);
  series.Show({});
  EXPECT_EQ(table.Text(), "");

  series.Show({worker});
  worker.set_state(v1::WORKER_STATE_LOST);
  series.Show({worker});
  EXPECT_EQ(ValueOf(table.Text(), up), 0);
  EXPECT_FALSE(ValueOf(table.Text(), utilization));
  clock.Advance(absl::Minutes(11));
  series.Show({worker});
  EXPECT_EQ(table.Text(), "");
  worker.set_state(v1::WORKER_STATE_READY);
  series.Show({worker});
  EXPECT_EQ(ValueOf(table.Text(), up), 1);
}

}  // namespace
}  // namespace wavefield::coordinator
