// The public API over gRPC: names, pages, retries, watches, downloads, bad requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/base/checksum.h"
#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

class Api : public ServerFixture {
 protected:
  void ConnectWorker(int slots = 2) {
    worker_ =
        std::make_unique<FakeWorker>("a", "a1", slots, ReadFile(StorageRoot() / "probe").value());
    ASSERT_TRUE(worker_->Connect(channel_).ok());
  }
  void TearDown() override { worker_.reset(); }

  void StartJob(const std::string& id) {
    ASSERT_TRUE(CreateJob(ValidRequest(id)).ok());
    worker_->WaitForAssignments(1);
    ASSERT_TRUE(worker_->ReportStarted(id + "/1/0").ok());
    ASSERT_TRUE(worker_->ReportTraining(id + "/1/0").ok());
  }

  std::unique_ptr<FakeWorker> worker_;
};

TEST_F(Api, ValidateOnlyCreatesNothing) {
  v1::CreateJobRequest request = ValidRequest("x");
  request.set_validate_only(true);
  const auto job = CreateJob(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->name(), "jobs/x");
  EXPECT_GT(job->parameter_count(), 0);
  v1::GetJobRequest get;
  get.set_name("jobs/x");
  v1::Job found;
  EXPECT_TRUE(absl::IsNotFound(Call(*jobs_, &v1::JobService::Stub::GetJob, get, found)));
}

TEST_F(Api, ViolationsArriveAsDetails) {
  v1::CreateJobRequest request = ValidRequest("x");
  request.mutable_spec()->mutable_model()->set_preset("wave-field-3x");
  request.mutable_spec()->mutable_training()->mutable_schedule()->set_learning_rate(-1);
  const absl::Status status = CreateJob(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(BadRequestOf(status).field_violations_size(), 2);
}

TEST_F(Api, ARetryWithTheSameRequestIdGetsTheFirstAnswer) {
  v1::CreateJobRequest request = ValidRequest("");
  request.set_request_id("r-1");
  const auto first = CreateJob(request);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = CreateJob(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(first->name(), again->name());
  EXPECT_EQ(first->uid(), again->uid());
  Restart();
  EXPECT_EQ(CreateJob(request)->uid(), first->uid()) << "remembered over a restart";
  request.mutable_spec()->set_priority(1);
  const absl::Status other = CreateJob(request).status();
  EXPECT_EQ(ReasonOf(other), "REQUEST_ID_REUSED");
}

TEST_F(Api, TakenAndMalformedNamesAreRefused) {
  ASSERT_TRUE(CreateJob(ValidRequest("x")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(CreateJob(ValidRequest("x")).status()));
  for (const char* name : {"", "x", "jobs/", "jobs/X", "workers/x", "jobs/a/b", "jobs/-"}) {
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(absl::IsInvalidArgument(Call(*jobs_, &v1::JobService::Stub::GetJob, request, job)))
        << name;
  }
}

TEST_F(Api, JobsAreListedNewestFirstInPages) {
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(CreateJob(ValidRequest("job-" + std::to_string(i))).ok());
  std::vector<std::string> names;
  v1::ListJobsRequest request;
  request.set_page_size(3);
  for (int page = 0; page < 10; ++page) {
    v1::ListJobsResponse response;
    ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListJobs, request, response).ok());
    EXPECT_LE(response.jobs_size(), 3);
    for (const v1::Job& job : response.jobs()) names.push_back(job.name());
    request.set_page_token(response.next_page_token());
    if (request.page_token().empty()) break;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"jobs/job-6", "jobs/job-5", "jobs/job-4", "jobs/job-3",
                                             "jobs/job-2", "jobs/job-1", "jobs/job-0"}));
  v1::ListJobsResponse response;
  request.set_page_token("made up");
  EXPECT_TRUE(
      absl::IsInvalidArgument(Call(*jobs_, &v1::JobService::Stub::ListJobs, request, response)));
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_TRUE(
      absl::IsInvalidArgument(Call(*jobs_, &v1::JobService::Stub::ListJobs, request, response)));
  request.set_page_size(0);
  request.set_filter("state=RUNNING");
  response.Clear();
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListJobs, request, response).ok());
  EXPECT_EQ(response.jobs_size(), 0);
  request.set_filter("colour=blue");
  EXPECT_TRUE(
      absl::IsInvalidArgument(Call(*jobs_, &v1::JobService::Stub::ListJobs, request, response)));
}

TEST_F(Api, AWatchCanBeResumedWithoutLossOrRepetition) {
  ConnectWorker();
  StartJob("x");
  std::vector<int64_t> steps;
  int64_t revision = 0;
  bool has_job = false;
  {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_name("jobs/x");
    request.set_include_history(true);
    const auto stream = jobs_->WatchJob(&context, request);
    for (int64_t step = 1; step <= 20; ++step) ASSERT_TRUE(worker_->ReportStep("x/1/0", step).ok());
    v1::WatchJobResponse response;
    while (steps.size() < 5 && stream->Read(&response)) {
      has_job = has_job || response.has_job();
      EXPECT_GE(response.revision(), revision);
      revision = response.revision();
      for (const auto& step : response.steps()) steps.push_back(step.step());
    }
    context.TryCancel();
    stream->Finish();
  }
  EXPECT_TRUE(has_job);
  for (int64_t step = 21; step <= 30; ++step) ASSERT_TRUE(worker_->ReportStep("x/1/0", step).ok());
  ASSERT_TRUE(worker_->ReportFinished("x/1/0", false).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 0).ok());
  grpc::ClientContext context;
  v1::WatchJobRequest request;
  request.set_name("jobs/x");
  request.set_from_revision(revision);
  const auto stream = jobs_->WatchJob(&context, request);
  v1::WatchJobResponse response;
  v1::Job last;
  while (stream->Read(&response)) {
    if (response.has_job()) last = response.job();
    for (const auto& step : response.steps()) steps.push_back(step.step());
  }
  EXPECT_TRUE(stream->Finish().ok()) << "the watch ends with the job";
  EXPECT_EQ(last.state(), v1::JOB_STATE_SUCCEEDED);
  ASSERT_EQ(steps.size(), 30u);
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], static_cast<int64_t>(i) + 1);
}

TEST_F(Api, MetricsComeInPagesWithTheirEvaluations) {
  ConnectWorker();
  StartJob("x");
  for (int64_t step = 1; step <= 10; ++step) {
    ASSERT_TRUE(worker_->ReportStep("x/1/0", step).ok());
    if (step % 5 != 0) continue;
    ASSERT_TRUE(worker_
                    ->Report("x/1/0",
                             [&](v1::WorkerEvent& event) {
                               event.mutable_trainer()->mutable_evaluation()->set_step(step);
                             })
                    .ok());
  }
  v1::ListMetricsRequest request;
  request.set_parent("jobs/x");
  request.set_page_size(4);
  std::vector<int64_t> steps;
  std::vector<int64_t> evaluations;
  for (int page = 0; page < 10; ++page) {
    v1::ListMetricsResponse response;
    ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListMetrics, request, response).ok());
    for (const auto& step : response.steps()) steps.push_back(step.step());
    for (const auto& evaluation : response.evaluations()) evaluations.push_back(evaluation.step());
    request.set_page_token(response.next_page_token());
    if (request.page_token().empty()) break;
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(evaluations, (std::vector<int64_t>{5, 10}));
}

TEST_F(Api, FieldHealthComesInPagesNewestFirstAndOutlivesARestart) {
  ConnectWorker();
  StartJob("x");
  for (int64_t step = 5; step <= 15; step += 5) {
    ASSERT_TRUE(worker_
                    ->Report("x/1/0",
                             [&](v1::WorkerEvent& event) {
                               v1::FieldHealth& health =
                                   *event.mutable_trainer()->mutable_field_health();
                               health.set_step(step);
                               v1::LayerHealth& layer = *health.add_layers();
                               layer.set_update_ratio(0.25);
                               layer.add_heads()->set_time_constant_p50(8);
                             })
                    .ok());
  }
  worker_.reset();
  Restart();
  v1::ListFieldHealthRequest request;
  request.set_parent("jobs/x");
  request.set_page_size(2);
  std::vector<int64_t> steps;
  for (int page = 0; page < 5; ++page) {
    v1::ListFieldHealthResponse response;
    ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListFieldHealth, request, response).ok());
    for (const v1::FieldHealth& point : response.points()) {
      steps.push_back(point.step());
      EXPECT_EQ(point.attempt(), 1);
      ASSERT_EQ(point.layers_size(), 1);
      EXPECT_EQ(point.layers(0).update_ratio(), 0.25);
      EXPECT_FALSE(point.layers(0).has_gradient_rms());
      EXPECT_EQ(point.layers(0).heads(0).time_constant_p50(), 8);
    }
    request.set_page_token(response.next_page_token());
    if (request.page_token().empty()) break;
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{15, 10, 5}));
  v1::ListFieldHealthResponse response;
  request.set_parent("jobs/none");
  request.clear_page_token();
  EXPECT_TRUE(
      absl::IsNotFound(Call(*jobs_, &v1::JobService::Stub::ListFieldHealth, request, response)));
}

TEST_F(Api, ADownloadIsWholeAndCanBeResumed) {
  ConnectWorker();
  StartJob("x");
  ASSERT_TRUE(
      worker_->ReportCheckpoint("x/1/0", StorageRoot().string(), "checkpoints/x/7-1", 7).ok());
  for (const int64_t skipped : {int64_t{0}, int64_t{100'000}, int64_t{300'000}}) {
    v1::DownloadCheckpointRequest request;
    request.set_name("jobs/x/checkpoints/latest");
    (*request.mutable_offsets())["model.safetensors"] = skipped;
    grpc::ClientContext context;
    const auto stream = checkpoints_->DownloadCheckpoint(&context, request);
    v1::DownloadCheckpointResponse response;
    ASSERT_TRUE(stream->Read(&response));
    const v1::Checkpoint checkpoint = response.checkpoint();
    EXPECT_EQ(checkpoint.name(), "jobs/x/checkpoints/7-1");
    const std::string whole =
        ReadFile(StorageRoot() / "checkpoints/x/7-1/model.safetensors").value();
    std::map<std::string, std::string> files;
    files["model.safetensors"] = whole.substr(0, static_cast<size_t>(skipped));
    while (stream->Read(&response)) {
      EXPECT_EQ(response.offset(), static_cast<int64_t>(files[response.path()].size()));
      files[response.path()] += response.data();
    }
    ASSERT_TRUE(stream->Finish().ok());
    for (const auto& file : checkpoint.files()) {
      EXPECT_EQ(Sha256Hex(files[file.path()]), file.sha256()) << file.path();
    }
    EXPECT_TRUE(files.contains("manifest.json"));
  }
}

TEST_F(Api, CheckpointsAreFoundByStepAndMissingOnesSayWhatThereIs) {
  ConnectWorker();
  StartJob("x");
  ASSERT_TRUE(
      worker_->ReportCheckpoint("x/1/0", StorageRoot().string(), "checkpoints/x/7-1", 7).ok());
  const auto get = [&](const std::string& name) {
    v1::GetCheckpointRequest request;
    request.set_name(name);
    v1::Checkpoint checkpoint;
    return Call(*checkpoints_, &v1::CheckpointService::Stub::GetCheckpoint, request, checkpoint);
  };
  EXPECT_TRUE(get("jobs/x/checkpoints/7").ok());
  EXPECT_TRUE(get("jobs/x/checkpoints/7-1").ok());
  EXPECT_TRUE(get("jobs/x/checkpoints/latest").ok());
  const absl::Status missing = get("jobs/x/checkpoints/8");
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("of steps 7"));
  EXPECT_TRUE(absl::IsNotFound(get("jobs/none/checkpoints/latest")));
  EXPECT_TRUE(absl::IsInvalidArgument(get("jobs/x")));
}

TEST_F(Api, InferenceRunsOnAFreeSlotAndStreamsItsOutput) {
  ConnectWorker(1);
  StartJob("x");
  ASSERT_TRUE(
      worker_->ReportCheckpoint("x/1/0", StorageRoot().string(), "checkpoints/x/7-1", 7).ok());
  v1::GenerateRequest request;
  request.set_checkpoint("jobs/x/checkpoints/latest");
  request.set_prompt("Once");
  request.set_max_tokens(5);
  {
    grpc::ClientContext context;
    const auto stream = inference_->Generate(&context, request);
    v1::InferenceOutput output;
    EXPECT_FALSE(stream->Read(&output));
    const absl::Status full = FromGrpcStatus(stream->Finish());
    EXPECT_TRUE(absl::IsResourceExhausted(full));
    EXPECT_THAT(std::string(full.message()),
                HasSubstr("needs 1 slot, 0 of 1 free; jobs/x holds 1"));
  }
  ASSERT_TRUE(worker_->ReportFinished("x/1/0", false).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 0).ok());
  worker_->WaitForAssignments(0);

  grpc::ClientContext context;
  const auto stream = inference_->Generate(&context, request);
  const v1::AssignmentList list = worker_->WaitForAssignments(1);
  ASSERT_EQ(list.assignments_size(), 1);
  const v1::Assignment& assignment = list.assignments(0);
  EXPECT_EQ(assignment.inference().checkpoint_directory(), "checkpoints/x/7-1");
  EXPECT_EQ(assignment.inference().generate().prompt(), "Once");
  const auto say = [&](const std::string& text, bool done) {
    return worker_->Report(assignment.task_id(), [&](v1::WorkerEvent& event) {
      event.mutable_trainer()->mutable_output()->set_text(text);
      event.mutable_trainer()->mutable_output()->set_done(done);
    });
  };
  ASSERT_TRUE(worker_->ReportStarted(assignment.task_id()).ok());
  ASSERT_TRUE(say(" upon", false).ok());
  ASSERT_TRUE(say(" a time", true).ok());
  std::string text;
  v1::InferenceOutput output;
  while (stream->Read(&output)) text += output.text();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(text, " upon a time");
  EXPECT_EQ(worker_->WaitForAssignments(0).assignments_size(), 0);
}

TEST_F(Api, InferenceWhoseProcessDiesSaysWhy) {
  ConnectWorker(2);
  StartJob("x");
  ASSERT_TRUE(
      worker_->ReportCheckpoint("x/1/0", StorageRoot().string(), "checkpoints/x/7-1", 7).ok());
  v1::EvaluateRequest request;
  request.set_checkpoint("jobs/x/checkpoints/7");
  grpc::ClientContext context;
  const auto stream = inference_->Evaluate(&context, request);
  const v1::AssignmentList list = worker_->WaitForAssignments(2);
  std::string task;
  for (const auto& assignment : list.assignments()) {
    if (assignment.has_inference()) task = assignment.task_id();
  }
  ASSERT_TRUE(worker_
                  ->Report(task,
                           [](v1::WorkerEvent& event) {
                             v1::TrainerFailure& failure =
                                 *event.mutable_trainer()->mutable_failure();
                             failure.set_code(static_cast<int>(absl::StatusCode::kInvalidArgument));
                             failure.set_message("the weights do not fit");
                           })
                  .ok());
  ASSERT_TRUE(worker_->ReportExit(task, 1).ok());
  v1::InferenceOutput output;
  EXPECT_FALSE(stream->Read(&output));
  const absl::Status status = FromGrpcStatus(stream->Finish());
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the weights do not fit"));
}

TEST_F(Api, ACallerThatLeavesEndsItsInference) {
  ConnectWorker(1);
  StartJob("x");
  ASSERT_TRUE(
      worker_->ReportCheckpoint("x/1/0", StorageRoot().string(), "checkpoints/x/7-1", 7).ok());
  ASSERT_TRUE(worker_->ReportFinished("x/1/0", false).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 0).ok());
  worker_->WaitForAssignments(0);
  v1::GenerateRequest request;
  request.set_checkpoint("jobs/x/checkpoints/7");
  request.set_max_tokens(5);
  grpc::ClientContext context;
  const auto stream = inference_->Generate(&context, request);
  ASSERT_EQ(worker_->WaitForAssignments(1).assignments_size(), 1);
  context.TryCancel();
  stream->Finish();
  EXPECT_EQ(worker_->WaitForAssignments(0).assignments_size(), 0);
}

TEST_F(Api, AnAuditReadsTheJobsOwnDatasetAndStreamsItsReport) {
  ConnectWorker(2);
  StartJob("x");
  ASSERT_TRUE(
      worker_->ReportCheckpoint("x/1/0", StorageRoot().string(), "checkpoints/x/7-1", 7).ok());
  v1::AuditCausalityRequest request;
  request.set_checkpoint("jobs/x/checkpoints/latest");
  request.set_windows(3);
  grpc::ClientContext context;
  const auto stream = inference_->AuditCausality(&context, request);
  const v1::AssignmentList list = worker_->WaitForAssignments(2);
  ASSERT_EQ(list.assignments_size(), 2);
  const int inference = list.assignments(0).has_inference() ? 0 : 1;
  const v1::InferenceTask& task = list.assignments(inference).inference();
  const v1::TrainTask& train = list.assignments(1 - inference).train();
  EXPECT_EQ(task.checkpoint_directory(), "checkpoints/x/7-1");
  EXPECT_EQ(task.dataset_directory(), train.dataset_directory());
  EXPECT_EQ(task.audit_causality().checkpoint(), "jobs/x/checkpoints/7-1");
  EXPECT_EQ(task.audit_causality().dataset(), train.spec().dataset());
  EXPECT_EQ(task.audit_causality().windows(), 3);
  const std::string id = list.assignments(inference).task_id();
  ASSERT_TRUE(worker_
                  ->Report(id,
                           [](v1::WorkerEvent& event) {
                             v1::InferenceOutput& output =
                                 *event.mutable_trainer()->mutable_output();
                             output.mutable_causality()->set_changes(24);
                             output.set_done(true);
                           })
                  .ok());
  v1::InferenceOutput output;
  ASSERT_TRUE(stream->Read(&output));
  EXPECT_EQ(output.causality().changes(), 24);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(Api, AuditsOutsideTheBoundsNameEveryField) {
  v1::AuditCausalityRequest request;
  request.set_checkpoint("jobs/x/checkpoints/latest");
  request.set_windows(65);
  request.set_sequence_length(1);
  request.set_changes_per_window(-1);
  grpc::ClientContext context;
  const auto stream = inference_->AuditCausality(&context, request);
  v1::InferenceOutput output;
  EXPECT_FALSE(stream->Read(&output));
  const auto violations = BadRequestOf(FromGrpcStatus(stream->Finish())).field_violations();
  ASSERT_EQ(violations.size(), 3);
  EXPECT_EQ(violations[0].description(), "is 65; allowed: 1 to 64, or 0 for the default");
  EXPECT_EQ(violations[1].field(), "sequence_length");
  EXPECT_EQ(violations[2].field(), "changes_per_window");
}

TEST_F(Api, BadInferenceRequestsNameTheirFields) {
  v1::GenerateRequest request;
  request.set_checkpoint("jobs/x/checkpoints/latest");
  request.set_max_tokens(0);
  request.set_temperature(-1);
  grpc::ClientContext context;
  const auto stream = inference_->Generate(&context, request);
  v1::InferenceOutput output;
  EXPECT_FALSE(stream->Read(&output));
  EXPECT_EQ(BadRequestOf(FromGrpcStatus(stream->Finish())).field_violations_size(), 2);
}

TEST_F(Api, OversizeMessagesAreRefused) {
  v1::CreateJobRequest request = ValidRequest("x");
  request.mutable_spec()->set_dataset(std::string(9 << 20, 'x'));
  EXPECT_TRUE(absl::IsResourceExhausted(CreateJob(request).status()));
  EXPECT_TRUE(CreateJob(ValidRequest("y")).ok()) << "the connection goes on";
}

TEST_F(Api, TooManyEventsAtOnceAreRefused) {
  ConnectWorker();
  v1::ReportEventsRequest request;
  request.set_name("workers/a");
  request.set_incarnation("a1");
  for (int i = 1; i <= 1001; ++i) request.add_events()->set_sequence(i);
  v1::ReportEventsResponse response;
  EXPECT_TRUE(absl::IsInvalidArgument(
      Call(worker_->stub(), &v1::WorkerService::Stub::ReportEvents, request, response)));
}

TEST_F(Api, WorkersAreListedWithTheirSlots) {
  ConnectWorker(2);
  StartJob("x");
  v1::ListWorkersRequest request;
  v1::ListWorkersResponse response;
  ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ListWorkers, request, response).ok());
  ASSERT_EQ(response.workers_size(), 1);
  EXPECT_EQ(response.workers(0).name(), "workers/a");
  EXPECT_EQ(response.workers(0).state(), v1::WORKER_STATE_READY);
  EXPECT_EQ(response.workers(0).slots(), 2);
  EXPECT_EQ(response.workers(0).used_slots(), 1);
}

}  // namespace
}  // namespace wavefield::coordinator
