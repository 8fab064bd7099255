// The commands about jobs, run as programs against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "proto/rpc/status.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

v1::Job MakeJob(const std::string& id, v1::JobState state) {
  v1::Job job;
  job.set_name("jobs/" + id);
  job.set_state(state);
  job.set_parameter_count(2719752);
  job.set_max_steps(40);
  job.mutable_spec()->mutable_resources()->set_world_size(2);
  return job;
}

v1::StepMetrics MakeStep(int64_t step, double loss) {
  v1::StepMetrics metrics;
  metrics.set_step(step);
  metrics.set_loss(loss);
  metrics.set_perplexity(std::exp(loss));
  metrics.set_tokens_per_second(12345);
  metrics.set_step_seconds(0.5);
  return metrics;
}

grpc::Status NotFound(const std::string& what) { return {grpc::StatusCode::NOT_FOUND, what}; }

class JobCommandsTest : public testing::Test {
 protected:
  CommandResult Run(std::vector<std::string> arguments, const std::string& input = "") {
    return RunWavefield(cluster_.address(), std::move(arguments), input);
  }
  // Keeps the request; answers with the job as queued.
  void AcceptJobs() {
    cluster_.create_job = [this](const v1::CreateJobRequest& request, v1::Job& job) {
      const std::lock_guard lock(mutex_);
      created_.push_back(request);
      job = MakeJob(request.job_id().empty() ? "made-up" : request.job_id(), v1::JOB_STATE_QUEUED);
      *job.mutable_spec() = request.spec();
      return grpc::Status::OK;
    };
  }
  v1::CreateJobRequest created(size_t i) {
    const std::lock_guard lock(mutex_);
    return i < created_.size() ? created_[i] : v1::CreateJobRequest();
  }

  std::mutex mutex_;
  std::vector<v1::CreateJobRequest> created_;
  FakeCluster cluster_;
};

TEST_F(JobCommandsTest, SubmitLaysFlagsOverTheFile) {
  AcceptJobs();
  const TemporaryDirectory directory;
  const std::string spec = directory.Write(
      "spec.json",
      R"({"model": {"preset": "a"}, "dataset": "d", "training": {"maxSteps": 5, "batchSize": 4}})");
  const CommandResult result =
      Run({"submit", spec, "--name", "first", "--preset", "wave-field-3m", "--dataset", "gcide",
           "--set", "training.max_steps=40", "--set", "resources.world_size=2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "jobs/first\n");
  EXPECT_THAT(result.err, HasSubstr("wavefield watch first"));
  const v1::CreateJobRequest request = created(0);
  EXPECT_EQ(request.job_id(), "first");
  EXPECT_EQ(request.spec().model().preset(), "wave-field-3m");
  EXPECT_EQ(request.spec().dataset(), "datasets/gcide");
  EXPECT_EQ(request.spec().training().max_steps(), 40);
  EXPECT_EQ(request.spec().training().batch_size(), 4);
  EXPECT_EQ(request.spec().resources().world_size(), 2);
  EXPECT_FALSE(request.validate_only());
}

TEST_F(JobCommandsTest, WhatJobPrintsIsSubmittedAgain) {
  AcceptJobs();
  cluster_.get_job = [](const v1::GetJobRequest&, v1::Job& job) {
    job = MakeJob("first", v1::JOB_STATE_RUNNING);
    job.mutable_spec()->set_dataset("datasets/gcide");
    return grpc::Status::OK;
  };
  const TemporaryDirectory directory;
  const std::string file = directory.Write("job.json", Run({"job", "first", "--json"}).out);
  const CommandResult result = Run({"submit", file, "--set", "priority=3"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(created(0).job_id(), "");
  EXPECT_EQ(created(0).spec().dataset(), "datasets/gcide");
  EXPECT_EQ(created(0).spec().resources().world_size(), 2);
  EXPECT_EQ(created(0).spec().priority(), 3);
}

TEST_F(JobCommandsTest, SubmitReadsTheSpecFromStandardInput) {
  AcceptJobs();
  const CommandResult result = Run({"submit", "-", "--json"}, R"({"priority": 7})");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(created(0).spec().priority(), 7);
  EXPECT_EQ(json::parse(result.out)["name"], "jobs/made-up");
  EXPECT_EQ(json::parse(result.out)["parameter_count"], "2719752");
}

TEST_F(JobCommandsTest, SubmitAlwaysSendsARequestId) {
  AcceptJobs();
  ASSERT_EQ(Run({"submit", "--preset", "p"}).exit_code, 0);
  ASSERT_EQ(Run({"submit", "--preset", "p"}).exit_code, 0);
  ASSERT_EQ(Run({"submit", "--preset", "p", "--request-id", "mine"}).exit_code, 0);
  EXPECT_EQ(created(0).request_id().size(), 32u);
  EXPECT_NE(created(0).request_id(), created(1).request_id());
  EXPECT_EQ(created(2).request_id(), "mine");
}

TEST_F(JobCommandsTest, SubmitPrintsEveryFieldViolationOnALine) {
  cluster_.create_job = [](const v1::CreateJobRequest&, v1::Job&) {
    absl::Status status =
        absl::InvalidArgumentError("training.batch_size is 0; allowed: 1 to 64; …");
    google::rpc::BadRequest details;
    for (const char* field : {"training.batch_size", "resources.world_size"}) {
      auto* violation = details.add_field_violations();
      violation->set_field(field);
      violation->set_description("is 0; allowed: 1 to 64");
    }
    AttachDetail(status, details);
    return ToGrpcStatus(status);
  };
  const CommandResult result = Run({"submit", "--preset", "p"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err,
            "wavefield: 2 fields are invalid\n"
            "training.batch_size: is 0; allowed: 1 to 64\n"
            "resources.world_size: is 0; allowed: 1 to 64\n");
}

TEST_F(JobCommandsTest, SubmitRefusesBadInputBeforeItCalls) {
  AcceptJobs();
  const TemporaryDirectory directory;
  const std::string unknown = directory.Write("unknown.json", R"({"modle": {}})");
  const std::string broken = directory.Write("broken.json", "{");
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"submit", unknown}, "modle: unknown key; did you mean 'model'?"},
      {{"submit", broken}, "not valid JSON"},
      {{"submit", "--set", "training.batch_size=x"}, "whole number"},
      {{"submit", "--name", "Not A Name"}, "'Not A Name'"},
      {{"submit", "--dataset", "a/b"}, "'a/b'"},
      {{"submit", "--presett", "x"}, "--preset"},
      {{"submitt"}, "submit"},
      {{"data", "prepar"}, "prepare"},
      {{"data"}, "prepare"},
      {{}, "submit"},
      {{"watch"}, "JOB"},
  };
  for (const auto& [arguments, expected] : cases) {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << testing::PrintToString(arguments);
    EXPECT_THAT(result.err, HasSubstr(expected)) << testing::PrintToString(arguments);
  }
  EXPECT_EQ(Run({"submit", (directory.path() / "none.json").string()}).exit_code, 3);
  EXPECT_TRUE(created_.empty());
}

TEST_F(JobCommandsTest, ValidateOnlySubmitsNothing) {
  AcceptJobs();
  const CommandResult result = Run({"submit", "--preset", "p", "--validate-only", "--watch"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(created(0).validate_only());
  EXPECT_THAT(result.out, HasSubstr("valid: 2,719,752 parameters"));
}

TEST_F(JobCommandsTest, WatchShowsStepsEvaluationsAndTheEnd) {
  cluster_.watch_job = [](const v1::WatchJobRequest& request,
                          grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    EXPECT_EQ(request.name(), "jobs/first");
    EXPECT_FALSE(request.include_history());
    v1::WatchJobResponse update;
    *update.mutable_job() = MakeJob("first", v1::JOB_STATE_RUNNING);
    update.mutable_job()->add_warnings("a checkpoint found no space");
    writer.Write(update);
    update.Clear();
    *update.add_steps() = MakeStep(1, 8.5);
    writer.Write(update);
    update.Clear();
    *update.add_steps() = MakeStep(2, std::nan(""));
    v1::EvaluationResult* evaluation = update.add_evaluations();
    evaluation->set_step(2);
    evaluation->set_bits_per_byte(1.4321);
    writer.Write(update);
    update.Clear();
    *update.mutable_job() = MakeJob("first", v1::JOB_STATE_SUCCEEDED);
    update.mutable_job()->set_latest_checkpoint("jobs/first/checkpoints/40-1");
    writer.Write(update);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"watch", "first"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("step 1/40  loss 8.5000"));
  EXPECT_THAT(result.out, HasSubstr("step 2/40  loss NaN  perplexity NaN"));
  EXPECT_THAT(result.out, HasSubstr("12.3k tokens/s  ETA"));
  EXPECT_THAT(result.out, HasSubstr("1.4321 bits per byte"));
  EXPECT_THAT(result.out, HasSubstr("warning: a checkpoint found no space"));
  EXPECT_THAT(result.out, HasSubstr("first SUCCEEDED"));
  EXPECT_THAT(result.out, HasSubstr("first@40-1"));
}

TEST_F(JobCommandsTest, WatchTakesUpABrokenConnectionWhereItWas) {
  std::atomic<int> calls = 0;
  std::atomic<int64_t> resumed_from = -1;
  cluster_.watch_job = [&](const v1::WatchJobRequest& request,
                           grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    v1::WatchJobResponse update;
    const int call = calls++;
    if (call == 0) {
      update.set_revision(17);
      *update.mutable_job() = MakeJob("first", v1::JOB_STATE_RUNNING);
      *update.add_steps() = MakeStep(1, 8);
      writer.Write(update);
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "shutting down");
    }
    if (call == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "still starting");
    resumed_from = request.from_revision();
    update.set_revision(18);
    *update.mutable_job() = MakeJob("first", v1::JOB_STATE_SUCCEEDED);
    *update.add_steps() = MakeStep(2, 7);
    writer.Write(update);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"watch", "first"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(resumed_from, 17);
  EXPECT_THAT(result.out, HasSubstr("connection lost"));
  EXPECT_THAT(result.out, HasSubstr("step 2/40"));
}

TEST_F(JobCommandsTest, WatchGivesUpWhenTheCoordinatorStaysAway) {
  std::atomic<int> calls = 0;
  cluster_.watch_job = [&](const v1::WatchJobRequest&,
                           grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    if (calls++ > 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
    v1::WatchJobResponse update;
    *update.mutable_job() = MakeJob("first", v1::JOB_STATE_RUNNING);
    writer.Write(update);
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "going");
  };
  const CommandResult result = Run({"watch", "first", "--reconnect-seconds", "0.3"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("may still run"));
}

TEST_F(JobCommandsTest, TheExitCodeTellsThatTheWatchedJobFailed) {
  AcceptJobs();
  cluster_.watch_job = [](const v1::WatchJobRequest& request,
                          grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    v1::WatchJobResponse update;
    *update.mutable_job() = MakeJob("first", v1::JOB_STATE_FAILED);
    update.mutable_job()->set_state_message("rank 1 ended with signal 9 (Killed)");
    update.set_revision(request.include_history() ? 2 : 1);
    writer.Write(update);
    return grpc::Status::OK;
  };
  const CommandResult watched = Run({"watch", "first"});
  EXPECT_EQ(watched.exit_code, 5);
  EXPECT_THAT(watched.out, HasSubstr("first FAILED: rank 1 ended with signal 9 (Killed)"));
  const CommandResult submitted = Run({"submit", "--preset", "p", "--watch", "--json"});
  EXPECT_EQ(submitted.exit_code, 5);
  EXPECT_EQ(json::parse(submitted.out)["job"]["state"], "JOB_STATE_FAILED");
  EXPECT_EQ(json::parse(submitted.out)["revision"], "2")
      << "a job just submitted is shown from its beginning";
}

TEST_F(JobCommandsTest, JobsListsAllPagesAndFilters) {
  std::atomic<bool> filtered = false;
  cluster_.list_jobs = [&](const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
    filtered = request.filter() == "state=RUNNING";
    const bool first = request.page_token().empty();
    *response.add_jobs() = MakeJob(first ? "second" : "first", v1::JOB_STATE_RUNNING);
    *response.mutable_jobs(0)->mutable_last_step() = MakeStep(20, 4.25);
    if (first) response.set_next_page_token("more");
    return grpc::Status::OK;
  };
  const CommandResult table = Run({"jobs", "--state", "running"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_TRUE(filtered);
  EXPECT_THAT(table.out, HasSubstr("second  RUNNING  20/40  4.2500"));
  EXPECT_THAT(table.out, HasSubstr("first"));
  const CommandResult as_json = Run({"jobs", "--json"});
  EXPECT_EQ(json::parse(as_json.out)["jobs"].size(), 2u);
  const CommandResult unknown = Run({"jobs", "--state", "runing"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("'RUNNING'"));
}

TEST_F(JobCommandsTest, JobShowsOneJobWithItsCheckpoints) {
  cluster_.get_job = [](const v1::GetJobRequest& request, v1::Job& job) {
    if (request.name() != "jobs/first") return NotFound("no job " + request.name());
    job = MakeJob("first", v1::JOB_STATE_QUEUED);
    job.set_reason(v1::JOB_REASON_WAITING_FOR_SLOTS);
    job.set_state_message("needs 2 slots, 1 is free");
    return grpc::Status::OK;
  };
  cluster_.list_checkpoints = [](const v1::ListCheckpointsRequest&,
                                 v1::ListCheckpointsResponse& response) {
    response.add_checkpoints();
    response.add_checkpoints();
    return grpc::Status::OK;
  };
  const CommandResult found = Run({"job", "first"});
  EXPECT_EQ(found.exit_code, 0) << found.err;
  EXPECT_THAT(found.out, HasSubstr("waiting for slots: needs 2 slots, 1 is free"));
  EXPECT_THAT(found.out, ContainsRegex("checkpoints +2\n"));
  const CommandResult missing = Run({"job", "other"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.err, HasSubstr("no job jobs/other"));
}

TEST_F(JobCommandsTest, CancelWaitsUntilTheJobHasEnded) {
  cluster_.cancel_job = [](const v1::CancelJobRequest& request, v1::Job& job) {
    EXPECT_FALSE(request.request_id().empty());
    job = MakeJob("first", v1::JOB_STATE_STOPPING);
    return grpc::Status::OK;
  };
  cluster_.watch_job = [](const v1::WatchJobRequest&,
                          grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    v1::WatchJobResponse update;
    *update.mutable_job() = MakeJob("first", v1::JOB_STATE_CANCELLED);
    writer.Write(update);
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"cancel", "first"}).out, "first STOPPING\n");
  const CommandResult waited = Run({"cancel", "first", "--wait"});
  EXPECT_EQ(waited.exit_code, 0);
  EXPECT_EQ(waited.out, "first CANCELLED\n");
}

TEST_F(JobCommandsTest, MetricsComeAsTableCsvAndJson) {
  cluster_.list_metrics = [](const v1::ListMetricsRequest& request,
                             v1::ListMetricsResponse& response) {
    EXPECT_EQ(request.stride(), 10);
    const bool first = request.page_token().empty();
    *response.add_steps() = MakeStep(first ? 10 : 20, first ? 5.5 : std::nan(""));
    if (first) response.set_next_page_token("more");
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"metrics", "first", "--stride", "10"}).out, HasSubstr("5.5000"));
  const std::string csv = Run({"metrics", "first", "--stride", "10", "--csv"}).out;
  EXPECT_THAT(csv, testing::StartsWith("step,attempt,time,loss,"));
  EXPECT_THAT(csv, HasSubstr("\n10,0,,5.5,"));
  EXPECT_THAT(csv, HasSubstr("\n20,0,,NaN,NaN,"));
  const json as_json = json::parse(Run({"metrics", "first", "--stride", "10", "--json"}).out);
  EXPECT_EQ(as_json["steps"].size(), 2u);
  EXPECT_EQ(as_json["steps"][1]["loss"], "NaN");
  EXPECT_EQ(Run({"metrics", "first", "--csv", "--json"}).exit_code, 2);
}

TEST_F(JobCommandsTest, MetricsHealthShowsTheNewestPointAndAllAsJson) {
  cluster_.list_field_health = [](const v1::ListFieldHealthRequest& request,
                                  v1::ListFieldHealthResponse& response) {
    if (request.parent() != "jobs/first") return grpc::Status::OK;
    const bool newest = request.page_token().empty();
    v1::FieldHealth& point = *response.add_points();
    point.set_step(newest ? 40 : 20);
    point.set_attempt(1);
    v1::LayerHealth& waves = *point.add_layers();
    waves.set_residual_rms(1.25);
    waves.set_update_ratio(0.0015);
    for (const double tau : {8.0, std::nan("")}) {
      v1::HeadHealth& head = *waves.add_heads();
      head.set_time_constant_p10(tau / 2);
      head.set_time_constant_p50(tau);
      head.set_time_constant_p90(tau * 2);
      head.set_coupling_entropy(0.325);
    }
    point.add_layers()->set_mixer_rms(0.5);
    if (newest) response.set_next_page_token("more");
    return grpc::Status::OK;
  };
  const CommandResult shown = Run({"metrics", "first", "--health"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, testing::StartsWith("step 40, attempt 1, "));
  EXPECT_THAT(shown.out, testing::ContainsRegex("\n *0 +1.25 +0 +- +0.0015\n"));
  EXPECT_THAT(shown.out, testing::ContainsRegex("\n *1 +0 +0.5 +- +-\n"));
  EXPECT_THAT(shown.out, testing::ContainsRegex("\n *0 +0 +4 +8 +16 +0 +0 +0.325\n"));
  EXPECT_THAT(shown.out, testing::ContainsRegex("\n *0 +1 +NaN +NaN +NaN +0 +0 +0.325\n$"));
  const json all = json::parse(Run({"metrics", "first", "--health", "--json"}).out);
  ASSERT_EQ(all["points"].size(), 2u);
  EXPECT_EQ(all["points"][1]["step"], "20");
  EXPECT_EQ(all["points"][0]["layers"][0]["heads"][0]["time_constant_p50"], 8.0);
  EXPECT_FALSE(all["points"][0]["layers"][1].contains("gradient_rms"));
  const CommandResult none = Run({"metrics", "unevaluated", "--health"});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_EQ(none.out, "");
  EXPECT_THAT(none.err, HasSubstr("jobs/unevaluated has no field health yet"));
  EXPECT_EQ(Run({"metrics", "first", "--health", "--csv"}).exit_code, 2);
  EXPECT_EQ(Run({"metrics", "first", "--health", "--stride", "2"}).exit_code, 2);
}

TEST_F(JobCommandsTest, WorkersAreListed) {
  cluster_.list_workers = [](const v1::ListWorkersRequest&, v1::ListWorkersResponse& response) {
    v1::Worker* worker = response.add_workers();
    worker->set_name("workers/host");
    worker->set_state(v1::WORKER_STATE_READY);
    worker->set_matmul_rate(2.5e11);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"workers"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("host    READY"));
  EXPECT_THAT(result.out, HasSubstr("250.0G"));
}

TEST_F(JobCommandsTest, GpusAreListedWithWhatIsInTheWay) {
  cluster_.list_workers = [](const v1::ListWorkersRequest&, v1::ListWorkersResponse& response) {
    v1::Worker* worker = response.add_workers();
    worker->set_name("workers/host");
    for (int i = 0; i < 3; ++i) {
      v1::Gpu* gpu = worker->add_gpus();
      gpu->set_index(i);
      gpu->set_slot(i == 2 ? -1 : i + 4);
      gpu->set_model("Emulated");
    }
    worker->mutable_gpus(0)->set_holder("jobs/a");
    worker->mutable_gpus(0)->mutable_telemetry()->set_temperature_celsius(61);
    worker->mutable_gpus(1)->set_unavailable("others use it");
    worker->mutable_gpus(2)->set_unavailable("its driver is too old");
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"workers"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ContainsRegex("host +0 +Emulated.* 61 °C.* jobs/a"));
  EXPECT_THAT(result.out, ContainsRegex("host +1 +Emulated.* held: others use it"));
  EXPECT_THAT(result.out, ContainsRegex("host +2 +Emulated.* not offered: its driver is too old"));
}

TEST(UnreachableTest, NamesTheAddressAndWhatToDo) {
  std::string address;
  { address = FakeCluster().address(); }
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"jobs"},
                                                    {"watch", "first"},
                                                    {"submit", "--preset", "p"},
                                                    {"generate", "first", "--prompt", "x"}}) {
    const CommandResult result = RunWavefield(address, arguments);
    EXPECT_EQ(result.exit_code, 4) << arguments[0];
    EXPECT_THAT(result.err, HasSubstr(address)) << arguments[0];
    EXPECT_THAT(result.err, HasSubstr("wavefield up")) << arguments[0];
  }
}

TEST_F(JobCommandsTest, ACallThatHangsEndsWithTheTimeout) {
  const auto stop = std::make_shared<std::atomic<bool>>(false);
  cluster_.list_jobs = [stop](const v1::ListJobsRequest&, v1::ListJobsResponse&) {
    while (!*stop) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"jobs", "--timeout", "0.2"});
  *stop = true;
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("did not answer within 200ms"));
}

TEST_F(JobCommandsTest, ATokenIsNeverSentInTheClearToAnotherHost) {
  const TemporaryDirectory directory;
  const std::string token = directory.Write("token", "very-secret\n");
  const CommandResult result = Run({"jobs", "--address", "192.0.2.1:7070", "--token-file", token});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--ca-file"));
  EXPECT_THAT(result.err, Not(HasSubstr("very-secret")));
}

}  // namespace
}  // namespace wavefield
