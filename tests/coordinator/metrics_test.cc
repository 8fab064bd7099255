// /metrics and /healthz over HTTP: values after real events, what promtool says of the page, and
// whether docs/metrics.md tells the truth.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/scrape.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::DoubleNear;
using testing::Optional;

class MetricsPage : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    worker_ = std::make_unique<FakeWorker>("a", "a1", 2, ReadFile(StorageRoot() / "probe").value());
  }
  void TearDown() override { worker_.reset(); }

  std::string Scrape() { return HttpGet(server_->http_port(), "/metrics").body; }

  // The first page of which it is true; after a minute, whichever is there.
  std::string ScrapeUntil(const std::function<bool(const std::string&)>& reached) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    std::string page = Scrape();
    while (!reached(page) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      page = Scrape();
    }
    return page;
  }

  // Job "x" trains on slot 0 of worker "a".
  void StartJob() {
    ASSERT_TRUE(worker_->Connect(channel_).ok());
    ASSERT_TRUE(CreateJob(ValidRequest("x")).ok());
    ASSERT_EQ(worker_->WaitForAssignments(1).assignments_size(), 1);
    ASSERT_TRUE(worker_->ReportStarted("x/1/0").ok());
    ASSERT_TRUE(worker_->ReportTraining("x/1/0").ok());
  }

  absl::Status Report(const std::function<void(v1::TrainerEvent&)>& fill) {
    return worker_->Report("x/1/0",
                           [&](v1::WorkerEvent& event) { fill(*event.mutable_trainer()); });
  }

  absl::Status ReportStepOf(int64_t step, double seconds) {
    return Report([&](v1::TrainerEvent& event) {
      v1::StepMetrics& metrics = *event.mutable_step();
      metrics.set_step(step);
      metrics.set_loss(2.5);
      metrics.set_perplexity(12.2);
      metrics.set_accuracy(0.4);
      metrics.set_grad_norm(1.5);
      metrics.set_learning_rate(0.002);
      metrics.set_total_tokens(step * 100);
      metrics.set_tokens_per_second(1234);
      metrics.set_matmul_rate_ratio(0.5);
      metrics.set_rank_skew_seconds(0.25);
      metrics.set_step_seconds(seconds);
      metrics.mutable_phase_seconds()->set_forward(0.5);
      metrics.mutable_phase_seconds()->set_data(0.125);
    });
  }

  absl::Status ReportEvaluation() {
    return Report([](v1::TrainerEvent& event) {
      v1::EvaluationResult& evaluation = *event.mutable_evaluation();
      evaluation.set_step(2);
      evaluation.set_loss(2.25);
      evaluation.set_perplexity(9.5);
      evaluation.set_bits_per_byte(1.75);
      evaluation.set_accuracy(0.5);
      evaluation.set_ema_loss(2.125);
      evaluation.set_seconds(3);
    });
  }

  // Two layers: one with three heads, one without.
  absl::Status ReportFieldHealth() {
    return Report([](v1::TrainerEvent& event) {
      v1::FieldHealth& health = *event.mutable_field_health();
      health.set_step(2);
      v1::LayerHealth& waves = *health.add_layers();
      for (const double scale : {3.0, 1.0, 2.0}) {
        v1::HeadHealth& head = *waves.add_heads();
        head.set_time_constant_p10(scale);
        head.set_time_constant_p50(10 * scale);
        head.set_time_constant_p90(100 * scale);
        head.set_frequency(-0.5 * scale);
        head.set_coupling_entropy(0.25 * scale);
      }
      waves.set_residual_rms(1.5);
      waves.set_mixer_rms(0.5);
      waves.set_gradient_rms(0.01);
      waves.set_update_ratio(0.001);
      health.add_layers()->set_residual_rms(2.5);
    });
  }

  absl::Status ReportCheckpoint(int64_t step) {
    return worker_->ReportCheckpoint("x/1/0", StorageRoot().string(),
                                     "checkpoints/x/" + std::to_string(step) + "-1", step);
  }

  // GPU 0 with all telemetry, GPU 1 with none and something in its way.
  void UseGpusAndHost() {
    v1::Gpu gpu = FakeGpu(0, 2), unfit = FakeGpu(1, -1);
    unfit.set_unavailable("its driver is too old");
    v1::GpuTelemetry& telemetry = *gpu.mutable_telemetry();
    telemetry.set_memory_used_bytes(1024);
    telemetry.set_utilization(0.75);
    telemetry.set_temperature_celsius(61);
    telemetry.set_power_watts(250.5);
    telemetry.set_uncorrected_ecc_errors(3);
    telemetry.set_last_xid(79);
    telemetry.set_throttled(true);
    worker_->SetGpus({gpu, unfit});
    v1::HostTelemetry host;
    host.set_cpu_utilization(0.25);
    host.set_memory_bytes(1000);
    host.set_memory_used_bytes(400);
    host.set_disk_bytes(5000);
    host.set_disk_free_bytes(3000);
    host.set_spool_bytes(77);
    worker_->SetHost(host, absl::Seconds(30));
  }

  std::unique_ptr<FakeWorker> worker_;
};

TEST_F(MetricsPage, EveryFamilyOfTheDocumentIsThereWithItsTypeAndLabelsAndNoOther) {
  UseGpusAndHost();
  StartJob();
  ASSERT_TRUE(ReportStepOf(1, 0.2).ok());
  ASSERT_TRUE(ReportEvaluation().ok());
  ASSERT_TRUE(ReportFieldHealth().ok());
  ASSERT_TRUE(ReportCheckpoint(1).ok());
  const std::string page = Scrape();
  const auto document = FamiliesOfDocument(ReadFile(WAVEFIELD_METRICS_DOCUMENT).value());
  const auto shown = FamiliesOfPage(page);
  ASSERT_GT(document.size(), 80u);
  for (const auto& [name, shape] : document) {
    const auto found = shown.find(name);
    ASSERT_NE(found, shown.end()) << name << " is in the document and not on the page";
    EXPECT_EQ(found->second.type, shape.type) << name;
    EXPECT_EQ(found->second.labels, shape.labels) << name;
  }
  for (const auto& [name, shape] : shown) {
    EXPECT_TRUE(document.contains(name)) << name << " is on the page and not in the document";
  }
  const std::string file = (directory_.path() / "metrics").string();
  ASSERT_TRUE(WriteFileAtomically(file, page).ok());
  EXPECT_EQ(std::system(("promtool check metrics < " + file).c_str()), 0);
}

TEST_F(MetricsPage, ShowsAJobsStepsEvaluationsAndFieldHealth) {
  StartJob();
  std::string page = Scrape();
  EXPECT_EQ(ValueOf(page, "wavefield_training_tokens_total{training_job=\"x\"}"), 0);
  for (const char* unknown :
       {"wavefield_training_loss", "wavefield_training_step", "wavefield_training_evaluation_loss",
        "wavefield_training_checkpoint_step", "wavefield_field_residual_rms"}) {
    EXPECT_FALSE(FamiliesOfPage(page).contains(unknown)) << unknown;
  }
  ASSERT_TRUE(ReportStepOf(1, 0.2).ok());
  ASSERT_TRUE(ReportStepOf(2, 0.03).ok());
  ASSERT_TRUE(ReportEvaluation().ok());
  ASSERT_TRUE(ReportFieldHealth().ok());
  page = Scrape();
  const auto expect = [&](const std::string& name, const std::string& more, double value) {
    const std::string series = name + "{training_job=\"x\"" + more + "}";
    EXPECT_THAT(ValueOf(page, series), Optional(DoubleNear(value, 1e-9))) << series;
  };
  expect("wavefield_training_info",
         ",dataset=\"text\",device=\"cpu\",precision=\"fp32\",ranks=\"1\"", 1);
  expect("wavefield_training_state", ",state=\"running\"", 1);
  expect("wavefield_training_attempts_total", "", 1);
  expect("wavefield_training_restarts_total", ",reason=\"rank_died\"", 0);
  expect("wavefield_training_step", "", 2);
  expect("wavefield_training_max_steps", "", 10);
  expect("wavefield_training_loss", "", 2.5);
  expect("wavefield_training_perplexity", "", 12.2);
  expect("wavefield_training_accuracy", "", 0.4);
  expect("wavefield_training_grad_norm", "", 1.5);
  expect("wavefield_training_learning_rate", "", 0.002);
  expect("wavefield_training_tokens_total", "", 200);
  expect("wavefield_training_tokens_per_second", "", 1234);
  expect("wavefield_training_matmul_rate_ratio", "", 0.5);
  expect("wavefield_training_rank_skew_seconds", "", 0.25);
  expect("wavefield_training_step_duration_seconds_bucket", ",le=\"0.025\"", 0);
  expect("wavefield_training_step_duration_seconds_bucket", ",le=\"0.05\"", 1);
  expect("wavefield_training_step_duration_seconds_bucket", ",le=\"0.25\"", 2);
  expect("wavefield_training_step_duration_seconds_bucket", ",le=\"+Inf\"", 2);
  expect("wavefield_training_step_duration_seconds_sum", "", 0.23);
  expect("wavefield_training_step_duration_seconds_count", "", 2);
  expect("wavefield_training_phase_seconds_total", ",phase=\"forward\"", 1);
  expect("wavefield_training_phase_seconds_total", ",phase=\"data\"", 0.25);
  expect("wavefield_training_phase_seconds_total", ",phase=\"optimize\"", 0);
  expect("wavefield_training_evaluation_loss", "", 2.25);
  expect("wavefield_training_evaluation_ema_loss", "", 2.125);
  expect("wavefield_training_evaluation_bpb", "", 1.75);
  expect("wavefield_training_evaluation_accuracy", "", 0.5);
  expect("wavefield_training_evaluation_perplexity", "", 9.5);
  expect("wavefield_training_evaluation_duration_seconds", "", 3);
  expect("wavefield_field_time_constant_tokens", ",layer=\"0\",token_quantile=\"0.1\"", 2);
  expect("wavefield_field_time_constant_tokens", ",layer=\"0\",token_quantile=\"0.9\"", 200);
  expect("wavefield_field_frequency_radians", ",layer=\"0\"", 1);
  expect("wavefield_field_coupling_entropy_nats", ",layer=\"0\"", 0.5);
  expect("wavefield_field_residual_rms", ",layer=\"1\"", 2.5);
  EXPECT_FALSE(ValueOf(page, "wavefield_field_gradient_rms{training_job=\"x\",layer=\"1\"}"));
  EXPECT_FALSE(ValueOf(page, "wavefield_field_frequency_radians{training_job=\"x\",layer=\"1\"}"));
  EXPECT_THAT(ValueOf(page, "wavefield_training_last_step_timestamp_seconds{training_job=\"x\"}"),
              Optional(DoubleNear(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 60)));
}

TEST_F(MetricsPage, ShowsCheckpointsAndWhatFailedOfThem) {
  StartJob();
  ASSERT_TRUE(ReportCheckpoint(4).ok());
  ASSERT_TRUE(Report([](v1::TrainerEvent& event) {
                event.mutable_checkpoint_failed()->set_message("no space");
              }).ok());
  ASSERT_TRUE(Report([](v1::TrainerEvent& event) {
                event.mutable_checkpoint_saved()->set_manifest("nonsense");
              }).ok());
  const auto check = [&] {
    const std::string page = Scrape();
    EXPECT_EQ(ValueOf(page, "wavefield_training_checkpoint_step{training_job=\"x\"}"), 4);
    EXPECT_GT(ValueOf(page, "wavefield_training_checkpoint_size_bytes{training_job=\"x\"}"),
              299'999);
    EXPECT_THAT(
        ValueOf(page, "wavefield_training_checkpoint_timestamp_seconds{training_job=\"x\"}"),
        Optional(DoubleNear(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 60)));
    return page;
  };
  const std::string page = check();
  EXPECT_EQ(ValueOf(page, "wavefield_training_checkpoints_total{training_job=\"x\"}"), 1);
  EXPECT_EQ(ValueOf(page, "wavefield_training_checkpoint_failures_total{training_job=\"x\"}"), 2);
  EXPECT_EQ(ValueOf(page, "wavefield_checkpoint_save_duration_seconds_count"), 1);
  Restart();
  check();
}

TEST_F(MetricsPage, ALiveJobIsShownAgainAfterARestartOfTheCoordinator) {
  StartJob();
  ASSERT_TRUE(ReportStepOf(3, 0.2).ok());
  ASSERT_TRUE(ReportEvaluation().ok());
  ASSERT_TRUE(ReportFieldHealth().ok());
  const std::string before = Scrape();
  Restart();
  const std::string after = Scrape();
  for (const char* series : {"wavefield_training_step{training_job=\"x\"}",
                             "wavefield_training_tokens_total{training_job=\"x\"}",
                             "wavefield_training_last_step_timestamp_seconds{training_job=\"x\"}",
                             "wavefield_training_evaluation_loss{training_job=\"x\"}",
                             "wavefield_training_attempts_total{training_job=\"x\"}",
                             "wavefield_field_residual_rms{training_job=\"x\",layer=\"1\"}",
                             "wavefield_jobs{state=\"running\",reason=\"none\"}"}) {
    ASSERT_TRUE(ValueOf(before, series)) << series;
    EXPECT_EQ(ValueOf(before, series), ValueOf(after, series)) << series;
  }
}

TEST_F(MetricsPage, CountsRestartsByCauseAndWhyJobsAreInTheirState) {
  StartJob();
  ASSERT_TRUE(worker_->ReportSignal("x/1/0", 9).ok());
  WaitForJob("x", [](const v1::Job& job) { return job.attempt() == 2; });
  ASSERT_EQ(CreateJob(ValidRequest("wide", 2)).status(), absl::OkStatus());
  WaitForJob("wide", [](const v1::Job& job) {
    return job.reason() == v1::JOB_REASON_WAITING_FOR_WORKERS ||
           job.reason() == v1::JOB_REASON_WAITING_FOR_SLOTS;
  });
  std::string page = Scrape();
  EXPECT_EQ(
      ValueOf(page, "wavefield_training_restarts_total{training_job=\"x\",reason=\"rank_died\"}"),
      1);
  EXPECT_EQ(
      ValueOf(page, "wavefield_training_restarts_total{training_job=\"x\",reason=\"worker_lost\"}"),
      0);
  EXPECT_EQ(ValueOf(page, "wavefield_training_attempts_total{training_job=\"x\"}"), 2);
  EXPECT_EQ(ValueOf(page, "wavefield_job_queue_wait_seconds_count"), 2);
  EXPECT_EQ(ValueOf(page, "wavefield_jobs{state=\"failed\",reason=\"rank_died\"}"), 0);
  EXPECT_EQ(
      ValueOf(page, "wavefield_jobs{state=\"queued\",reason=\"waiting_for_slots\"}").value() +
          ValueOf(page, "wavefield_jobs{state=\"queued\",reason=\"waiting_for_workers\"}").value(),
      1);
  EXPECT_GE(ValueOf(page, "wavefield_scheduler_pass_duration_seconds_count"), 2);
  EXPECT_FALSE(FamiliesOfPage(page)["wavefield_training_info"].labels.empty());
  EXPECT_FALSE(ValueOf(page, "wavefield_training_attempts_total{training_job=\"wide\"}"))
      << "the series of a job begin with its first attempt";
  Restart();
  page = Scrape();
  EXPECT_EQ(
      ValueOf(page, "wavefield_training_restarts_total{training_job=\"x\",reason=\"rank_died\"}"),
      1);
}

TEST_F(MetricsPage, ShowsWorkersTheirHostsAndGpusUntilTheyAreLost) {
  options_.lease = absl::Seconds(10);
  Restart();
  UseGpusAndHost();
  StartJob();
  worker_->Hang();
  // It says that it ends, and still holds a slot.
  ASSERT_TRUE(worker_->Heartbeat(5, true).ok());
  std::string page = Scrape();
  const auto expect = [&](const std::string& series, double value, double tolerance = 0) {
    EXPECT_THAT(ValueOf(page, series), Optional(DoubleNear(value, tolerance))) << series;
  };
  expect("wavefield_workers{state=\"ready\"}", 1);
  expect("wavefield_worker_slots{device=\"cpu\",state=\"free\"}", 1);
  expect("wavefield_worker_slots{device=\"cpu\",state=\"used\"}", 1);
  expect("wavefield_worker_slots{device=\"cuda\",state=\"free\"}", 1);
  expect("wavefield_watches", 1);
  expect("wavefield_worker_up{worker=\"a\"}", 1);
  expect("wavefield_worker_used_slots{worker=\"a\"}", 1);
  expect("wavefield_worker_heartbeat_age_seconds{worker=\"a\"}", 0, 10);
  expect("wavefield_worker_clock_difference_seconds{worker=\"a\"}", 30, 10);
  expect("wavefield_worker_spool_depth{worker=\"a\"}", 5);
  expect("wavefield_worker_spool_bytes{worker=\"a\"}", 77);
  expect("wavefield_worker_cpu_utilization_ratio{worker=\"a\"}", 0.25);
  expect("wavefield_worker_memory_bytes{worker=\"a\"}", 1000);
  expect("wavefield_worker_memory_used_bytes{worker=\"a\"}", 400);
  expect("wavefield_worker_disk_size_bytes{worker=\"a\"}", 5000);
  expect("wavefield_worker_disk_free_bytes{worker=\"a\"}", 3000);
  expect("wavefield_gpu_available{worker=\"a\",gpu=\"0\"}", 1);
  expect("wavefield_gpu_available{worker=\"a\",gpu=\"1\"}", 0);
  expect("wavefield_gpu_info{worker=\"a\",gpu=\"0\",model=\"Emulated\"}", 1);
  expect("wavefield_gpu_memory_used_bytes{worker=\"a\",gpu=\"0\"}", 1024);
  expect("wavefield_gpu_utilization_ratio{worker=\"a\",gpu=\"0\"}", 0.75);
  expect("wavefield_gpu_power_watts{worker=\"a\",gpu=\"0\"}", 250.5);
  expect("wavefield_gpu_last_xid{worker=\"a\",gpu=\"0\"}", 79);
  expect("wavefield_gpu_throttled{worker=\"a\",gpu=\"0\"}", 1);
  EXPECT_FALSE(ValueOf(page, "wavefield_gpu_power_watts{worker=\"a\",gpu=\"1\"}"))
      << "what is not known is not shown";

  v1::ListWorkersResponse workers;
  ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ListWorkers, {}, workers).ok());
  ASSERT_EQ(workers.workers_size(), 1);
  EXPECT_EQ(workers.workers(0).spool_depth(), 5);
  EXPECT_EQ(workers.workers(0).host().memory_used_bytes(), 400);
  EXPECT_NEAR(static_cast<double>(workers.workers(0).clock_difference().seconds()), 30, 10);

  page = ScrapeUntil([](const std::string& now) {
    return ValueOf(now, "wavefield_worker_up{worker=\"a\"}") == 0 &&
           ValueOf(now, "wavefield_workers_lost_total") == 1;
  });
  expect("wavefield_worker_up{worker=\"a\"}", 0);
  expect("wavefield_workers_lost_total", 1);
  expect("wavefield_workers{state=\"lost\"}", 1);
  EXPECT_FALSE(ValueOf(page, "wavefield_worker_spool_depth{worker=\"a\"}"));
  EXPECT_FALSE(FamiliesOfPage(page).contains("wavefield_gpu_available"));
}

TEST_F(MetricsPage, AWorkerThatEndedInAnOrderlyWayIsNotLost) {
  options_.lease = absl::Seconds(5);
  Restart();
  ASSERT_TRUE(worker_->Connect(channel_).ok());
  worker_->Hang();
  ASSERT_TRUE(worker_->Heartbeat(0, true).ok());
  EXPECT_EQ(ValueOf(Scrape(), "wavefield_worker_up{worker=\"a\"}"), 1);
  const std::string page = ScrapeUntil(
      [](const std::string& now) { return !ValueOf(now, "wavefield_worker_up{worker=\"a\"}"); });
  EXPECT_FALSE(ValueOf(page, "wavefield_worker_up{worker=\"a\"}"));
  EXPECT_EQ(ValueOf(page, "wavefield_workers{state=\"lost\"}"), 0);
  EXPECT_EQ(ValueOf(page, "wavefield_workers_lost_total"), 0);
  Restart();
  EXPECT_EQ(ValueOf(Scrape(), "wavefield_workers{state=\"lost\"}"), 0);
}

TEST_F(MetricsPage, ShowsTheCoordinatorItself) {
  ASSERT_TRUE(CreateJob(ValidRequest("x")).ok());
  const std::string page = Scrape();
  EXPECT_EQ(ValueOf(page, "wavefield_rpc_unauthenticated_total"), 0);
  EXPECT_GE(ValueOf(page,
                    "wavefield_rpc_duration_seconds_count{code=\"OK\",method=\"wavefield.v1."
                    "JobService/CreateJob\"}"),
            1);
  EXPECT_GE(ValueOf(page, "wavefield_store_commit_duration_seconds_count"), 1);
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  const double start = ValueOf(page, "process_start_time_seconds").value();
  EXPECT_LE(start, now + 2);
  EXPECT_GT(start, now - 600) << "this process is not as old as that";
  EXPECT_GT(ValueOf(page, "process_resident_memory_bytes"), 1e6);
  EXPECT_GT(ValueOf(page, "process_open_fds"), 5);
  EXPECT_GT(ValueOf(page, "process_cpu_seconds_total"), 0);
  for (const char* directory : {"storage", "state"}) {
    const std::string label = std::string("{directory=\"") + directory + "\"}";
    EXPECT_GT(ValueOf(page, "wavefield_disk_free_bytes" + label), 0);
    EXPECT_GE(ValueOf(page, "wavefield_disk_size_bytes" + label),
              ValueOf(page, "wavefield_disk_free_bytes" + label));
  }
}

TEST_F(MetricsPage, HealthIsToldAndOtherPagesAreNot) {
  EXPECT_EQ(HttpGet(server_->http_port(), "/healthz").body, "ok\n");
  EXPECT_EQ(HttpGet(server_->http_port(), "/etc/passwd").code, 404);
  EXPECT_EQ(HttpGet(server_->http_port(), "/metrics", "DELETE").code, 405);
}

}  // namespace
}  // namespace wavefield::coordinator
