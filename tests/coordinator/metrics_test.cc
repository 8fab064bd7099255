// /metrics and /healthz over HTTP, and what promtool says of them.
#include <civetweb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "coordinator/jobs/timestamps.h"
#include "coordinator/metrics/gpu_series.h"
#include "coordinator/metrics/job_series.h"
#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Page {
  int code = 0;
  std::string body;
};

Page Get(int port, const std::string& path, const std::string& method = "GET") {
  char error[200] = "";
  mg_connection* connection =
      mg_download("127.0.0.1", port, 0, error, sizeof(error),
                  "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method.c_str(),
                  path.c_str());
  if (connection == nullptr) {
    ADD_FAILURE() << error;
    return {};
  }
  Page page;
  page.code = mg_get_response_info(connection)->status_code;
  char buffer[4096];
  for (int count; (count = mg_read(connection, buffer, sizeof(buffer))) > 0;) {
    page.body.append(buffer, static_cast<size_t>(count));
  }
  mg_close_connection(connection);
  return page;
}

class MetricsPage : public ServerFixture {};

TEST_F(MetricsPage, ShowsJobsWorkersAndCallsAndPleasesPromtool) {
  FakeWorker worker("a", "a1", 2, ReadFile(StorageRoot() / "probe").value());
  v1::Gpu gpu = FakeGpu(0, 2), unfit = FakeGpu(1, -1);
  unfit.set_unavailable("its driver is too old");
  worker.SetGpus({gpu, unfit});
  ASSERT_TRUE(worker.Connect(channel_).ok());
  gpu.mutable_telemetry()->set_memory_used_bytes(1024);
  gpu.mutable_telemetry()->set_power_watts(250.5);
  gpu.mutable_telemetry()->set_last_xid(79);
  worker.SetGpus({gpu, unfit});
  ASSERT_TRUE(worker.Heartbeat().ok());
  ASSERT_TRUE(CreateJob(ValidRequest("x")).ok());
  worker.WaitForAssignments(1);
  ASSERT_TRUE(worker.ReportTraining("x/1/0").ok());
  ASSERT_TRUE(worker.ReportStep("x/1/0", 4).ok());
  const Page page = Get(server_->http_port(), "/metrics");
  EXPECT_EQ(page.code, 200);
  for (const char* line :
       {"wavefield_jobs{state=\"running\"} 1\n", "wavefield_jobs{state=\"failed\"} 0\n",
        "wavefield_workers{state=\"ready\"} 1\n",
        "wavefield_worker_slots{device=\"cpu\",state=\"free\"} 1\n",
        "wavefield_worker_slots{device=\"cuda\",state=\"free\"} 1\n",
        "wavefield_gpu_available{gpu=\"0\",worker=\"a\"} 1\n",
        "wavefield_gpu_available{gpu=\"1\",worker=\"a\"} 0\n",
        "wavefield_gpu_memory_used_bytes{gpu=\"0\",worker=\"a\"} 1024\n",
        "wavefield_gpu_power_watts{gpu=\"0\",worker=\"a\"} 250.5\n",
        "wavefield_gpu_last_xid{gpu=\"0\",worker=\"a\"} 79\n",
        "wavefield_training_loss{training_job=\"x\"} 0.25\n",
        "wavefield_training_tokens_total{training_job=\"x\"} 400\n",
        "wavefield_training_step{training_job=\"x\"} 4\n",
        "wavefield_rpc_unauthenticated_total 0\n", "method=\"wavefield.v1.JobService/CreateJob\"",
        "wavefield_store_commit_duration_seconds_count", "process_start_time_seconds"}) {
    EXPECT_THAT(page.body, HasSubstr(line));
  }
  const std::string file = (directory_.path() / "metrics").string();
  ASSERT_TRUE(WriteFileAtomically(file, page.body).ok());
  EXPECT_EQ(std::system(("promtool check metrics < " + file).c_str()), 0);
}

TEST_F(MetricsPage, HealthIsToldAndOtherPagesAreNot) {
  EXPECT_EQ(Get(server_->http_port(), "/healthz").body, "ok\n");
  EXPECT_EQ(Get(server_->http_port(), "/etc/passwd").code, 404);
  EXPECT_EQ(Get(server_->http_port(), "/metrics", "DELETE").code, 405);
}

TEST(GpuSeries, ThoseOfAWorkerThatIsGoneVanish) {
  prometheus::Registry registry;
  CoordinatorMetrics metrics(registry);
  GpuSeries series(metrics);
  v1::Worker worker;
  worker.set_name("workers/a");
  *worker.add_gpus() = FakeGpu(3, 2);
  worker.mutable_gpus(0)->mutable_telemetry()->set_utilization(0.5);
  const prometheus::Labels labels = {{"worker", "a"}, {"gpu", "3"}};
  series.Show({worker});
  EXPECT_EQ(metrics.gpu_utilization.Add(labels).Value(), 0.5);
  EXPECT_FALSE(metrics.gpu_power.Has(labels)) << "what is not known is not shown";
  series.Show({});
  EXPECT_FALSE(metrics.gpu_utilization.Has(labels));
  EXPECT_FALSE(metrics.gpu_memory.Has(labels));
}

TEST(JobSeries, NonFiniteLossesAreCountedNotDrawnAndEndedJobsRetire) {
  prometheus::Registry registry;
  CoordinatorMetrics metrics(registry);
  ManualClock clock;
  JobSeries series(metrics, clock, absl::Minutes(10));
  JobRecord record = StartedJob("x", 1);
  *record.mutable_job()->mutable_last_step() = StepAt(2);
  series.JobsCommitted({record});
  record.mutable_job()->mutable_last_step()->set_loss(std::numeric_limits<double>::quiet_NaN());
  series.JobsCommitted({record});
  series.CountNonFiniteSteps({"x"});
  EXPECT_EQ(metrics.loss.Add({{"training_job", "x"}}).Value(), 0.5);
  EXPECT_EQ(metrics.non_finite_steps.Add({{"training_job", "x"}}).Value(), 1);
  record.mutable_job()->set_state(v1::JOB_STATE_FAILED);
  series.JobsCommitted({record});
  series.Retire();
  EXPECT_TRUE(metrics.loss.Has({{"training_job", "x"}}));
  clock.Advance(absl::Minutes(11));
  series.Retire();
  EXPECT_FALSE(metrics.loss.Has({{"training_job", "x"}}));
  EXPECT_FALSE(metrics.tokens.Has({{"training_job", "x"}}));
}

TEST(JobSeries, AJobWhoseOnlyStepsCameWithItsEndIsShown) {
  prometheus::Registry registry;
  CoordinatorMetrics metrics(registry);
  ManualClock clock;
  JobSeries series(metrics, clock, absl::Minutes(10));
  JobRecord record = StartedJob("brief", 1);
  series.JobsCommitted({record});
  *record.mutable_job()->mutable_last_step() = StepAt(2);
  record.mutable_job()->set_state(v1::JOB_STATE_SUCCEEDED);
  *record.mutable_job()->mutable_end_time() = ToTimestamp(clock.Now());
  series.JobsCommitted({record});
  EXPECT_EQ(metrics.loss.Add({{"training_job", "brief"}}).Value(), 0.5);
  clock.Advance(absl::Minutes(11));
  series.Retire();
  series.JobsCommitted({record});
  EXPECT_FALSE(metrics.loss.Has({{"training_job", "brief"}}));
}

}  // namespace
}  // namespace wavefield::coordinator
