// What people do to jobs, over gRPC, with a worker that only says what happens.
#include <filesystem>
#include <thread>

#include "tests/coordinator/jobs_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Stub = v1::JobService::Stub;

class JobVerbs : public JobsFixture {};

void ExpectStatus(const absl::Status& status, absl::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST_F(JobVerbs, APausedJobGivesItsSlotBackAndGoesOnFromItsCheckpoint) {
  ConnectWorker();
  Create("x");
  const std::string task = Train("x");
  ASSERT_TRUE(worker_->ReportStep(task, 4).ok());
  const auto pausing = Pause("x");
  ASSERT_TRUE(pausing.ok()) << pausing.status();
  EXPECT_EQ(pausing->state(), v1::JOB_STATE_STOPPING);
  EXPECT_EQ(pausing->reason(), v1::JOB_REASON_PAUSED_BY_USER);
  EXPECT_EQ(Pause("x")->etag(), pausing->etag()) << "idempotent";
  ASSERT_TRUE(Checkpoint(task, 5).ok());
  End(task, true);
  const v1::Job paused = WaitForState("x", v1::JOB_STATE_PAUSED);
  EXPECT_EQ(paused.state_message(), "stopped on request at step 4");
  EXPECT_FALSE(paused.has_end_time());
  Create("y");
  End(Train("y"), false);
  WaitForState("y", v1::JOB_STATE_SUCCEEDED);
  worker_->Disconnect();
  Restart();
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_PAUSED) << "over a restart of the coordinator";
  ConnectWorker();
  const auto resumed = Resume("x");
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->state(), v1::JOB_STATE_QUEUED);
  const std::string again = Train("x");
  EXPECT_EQ(Resume("x")->attempt(), 2) << "a job that lives is returned as it is";
  const v1::AssignmentList list = worker_->WaitForAssignments(1);
  ASSERT_EQ(list.assignments_size(), 1);
  EXPECT_THAT(list.assignments(0).train().resume_candidates(), ElementsAre("checkpoints/x/5-1"));
  End(again, false);
  EXPECT_EQ(WaitForState("x", v1::JOB_STATE_SUCCEEDED).restarts(), 0);
}

TEST_F(JobVerbs, PauseAndResumeOfWhatWaitsAndOfWhatHasEnded) {
  Create("x");
  EXPECT_EQ(Pause("x")->state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(Resume("x")->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(Pause("x")->state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(Cancel("x")->state(), v1::JOB_STATE_CANCELLED);
  ExpectStatus(Pause("x").status(), absl::StatusCode::kFailedPrecondition, "has ended");
  const auto back = Resume("x");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(back->has_end_time());
  for (const auto& status : {Pause("nobody").status(), Resume("nobody").status(),
                             Delete("nobody").status(), Cancel("nobody").status()}) {
    ExpectStatus(status, absl::StatusCode::kNotFound, "there is no job 'nobody'");
  }
  ExpectStatus(Pause("No").status(), absl::StatusCode::kInvalidArgument, "name");
}

TEST_F(JobVerbs, ASucceededJobGoesOnWithALargerBudgetAlone) {
  ConnectWorker();
  Succeed("x");
  ExpectStatus(Resume("x").status(), absl::StatusCode::kFailedPrecondition,
               "has used up its budget, at step 10 of 10");
  v1::UpdateJobRequest update;
  update.mutable_job()->set_name("jobs/x");
  update.mutable_job()->mutable_spec()->mutable_training()->set_max_steps(20);
  update.mutable_update_mask()->add_paths("spec.training.max_steps");
  ExpectStatus(Answer(&Stub::UpdateJob, update).status(), absl::StatusCode::kFailedPrecondition,
               "schedule 'cosine'");

  v1::CreateJobRequest request = ValidRequest("y");
  request.mutable_spec()->mutable_training()->mutable_schedule()->set_kind("constant");
  ASSERT_TRUE(CreateJob(request).ok());
  std::string task = Train("y");
  ASSERT_TRUE(worker_->ReportStep(task, 10).ok());
  ASSERT_TRUE(Checkpoint(task, 10).ok());
  End(task, false);
  WaitForState("y", v1::JOB_STATE_SUCCEEDED);
  update.mutable_job()->set_name("jobs/y");
  const auto updated = Answer(&Stub::UpdateJob, update);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->max_steps(), 20);
  EXPECT_EQ(updated->state(), v1::JOB_STATE_SUCCEEDED);
  ASSERT_TRUE(Resume("y").ok());
  task = Train("y");
  const v1::AssignmentList list = worker_->WaitForAssignments(1);
  EXPECT_EQ(list.assignments(0).train().spec().training().max_steps(), 20);
  EXPECT_THAT(list.assignments(0).train().resume_candidates(), ElementsAre("checkpoints/y/10-1"));
}

TEST_F(JobVerbs, AFailedJobGoesOnWithAllItsRestarts) {
  ConnectWorker();
  v1::CreateJobRequest request = ValidRequest("x");
  request.mutable_spec()->mutable_restart()->set_max_restarts(0);
  ASSERT_TRUE(CreateJob(request).ok());
  ASSERT_TRUE(worker_->ReportExit(Train("x"), 1).ok());
  WaitForState("x", v1::JOB_STATE_FAILED);
  ASSERT_TRUE(Resume("x").ok());
  End(Train("x"), false);
  WaitForState("x", v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobVerbs, AJobThatWasPausedAtItsEndIsResumedAndSucceeds) {
  ConnectWorker();
  Create("x");
  std::string task = Train("x");
  ASSERT_TRUE(worker_->ReportStep(task, 10).ok());
  ASSERT_TRUE(Pause("x").ok());
  ASSERT_TRUE(Checkpoint(task, 10).ok());
  End(task, true);
  WaitForState("x", v1::JOB_STATE_PAUSED);
  ASSERT_TRUE(Resume("x").ok());
  End(Train("x"), false);
  WaitForState("x", v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobVerbs, UpdatesAreGuardedByTheEtagAndRetried) {
  Create("x");
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name("jobs/x");
  request.mutable_job()->mutable_spec()->set_priority(5);
  request.mutable_update_mask()->add_paths("spec.priority");
  request.set_etag(GetJob("x").etag());
  request.set_request_id("u-1");
  ConnectWorker();
  const std::string task = Train("x");
  ASSERT_TRUE(worker_->ReportStep(task, 4).ok());
  WaitForJob("x", [](const v1::Job& job) { return job.last_step().step() == 4; });
  const auto updated = Answer(&Stub::UpdateJob, request);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->spec().priority(), 5);
  EXPECT_NE(updated->etag(), request.etag());
  EXPECT_EQ(Answer(&Stub::UpdateJob, request)->etag(), updated->etag()) << "a retry";
  request.set_request_id("u-2");
  ExpectStatus(Answer(&Stub::UpdateJob, request).status(), absl::StatusCode::kAborted, "etag");
}

TEST_F(JobVerbs, ADeletedJobTakesEverythingWithIt) {
  ConnectWorker();
  Succeed("x");
  const auto directory = StorageRoot() / "checkpoints/x";
  ASSERT_TRUE(std::filesystem::exists(directory / "10-1"));
  v1::DeleteJobRequest request;
  request.set_name("jobs/x");
  request.set_validate_only(true);
  ASSERT_TRUE(Answer(&Stub::DeleteJob, request).ok());
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_SUCCEEDED);
  const auto deleted = Verb(&Stub::DeleteJob, "x", "d-1");
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->last_step().step(), 10);
  EXPECT_EQ(Verb(&Stub::DeleteJob, "x", "d-1")->uid(), deleted->uid()) << "a retry";
  ExpectStatus(Delete("x").status(), absl::StatusCode::kNotFound, "there is no job 'x'");
  Create("x");
  EXPECT_NE(GetJob("x").uid(), deleted->uid());
  EXPECT_GT(GetJob("x").epoch(), deleted->epoch());
  v1::ListMetricsRequest metrics;
  metrics.set_parent("jobs/x");
  EXPECT_EQ(Answer(&Stub::ListMetrics, metrics)->steps_size(), 0) << "the old one's are gone";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::filesystem::exists(directory) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(std::filesystem::exists(directory));
  Train("x");
  const v1::AssignmentList list = worker_->WaitForAssignments(1);
  EXPECT_EQ(list.assignments(0).train().resume_candidates_size(), 0);
}

TEST_F(JobVerbs, ANewJobNeverUsesADirectoryThatIsThereAlready) {
  ConnectWorker();
  std::filesystem::create_directories(StorageRoot() / "checkpoints/x");
  Create("x");
  Train("x");
  const v1::AssignmentList list = worker_->WaitForAssignments(1);
  EXPECT_EQ(list.assignments(0).train().checkpoint_directory(),
            "checkpoints/x." + GetJob("x").uid().substr(0, 8));
}

TEST_F(JobVerbs, WhatIsNeededIsNotDeleted) {
  ConnectWorker();
  Succeed("x");
  v1::CreateJobRequest after = ValidRequest("later");
  after.mutable_spec()->add_after()->set_job("jobs/x");
  Create("other");
  after.mutable_spec()->add_after()->set_job("jobs/other");
  ASSERT_TRUE(CreateJob(after).ok());
  ExpectStatus(Delete("other").status(), absl::StatusCode::kFailedPrecondition, "cancel it first");
  ExpectStatus(Delete("x").status(), absl::StatusCode::kFailedPrecondition,
               "jobs/x is still needed: jobs/later waits for it");
  ASSERT_TRUE(Cancel("later").ok());
  v1::UpdateCheckpointRequest pin;
  pin.mutable_checkpoint()->set_name("jobs/x/checkpoints/10-1");
  pin.mutable_checkpoint()->set_pinned(true);
  pin.mutable_update_mask()->add_paths("pinned");
  v1::Checkpoint pinned;
  ASSERT_TRUE(
      Call(*checkpoints_, &v1::CheckpointService::Stub::UpdateCheckpoint, pin, pinned).ok());
  ExpectStatus(Delete("x").status(), absl::StatusCode::kFailedPrecondition,
               "jobs/x/checkpoints/10-1 is pinned");
  pin.mutable_checkpoint()->set_pinned(false);
  ASSERT_TRUE(
      Call(*checkpoints_, &v1::CheckpointService::Stub::UpdateCheckpoint, pin, pinned).ok());
  v1::CreateJobRequest fork = ValidRequest("fork");
  fork.mutable_spec()->set_init_from("jobs/x/checkpoints/latest");
  const auto forked = CreateJob(fork);
  ASSERT_TRUE(forked.ok()) << forked.status();
  EXPECT_EQ(forked->spec().init_from(), "jobs/x/checkpoints/10-1");
  ExpectStatus(Delete("x").status(), absl::StatusCode::kFailedPrecondition,
               "jobs/x/checkpoints/10-1: jobs/fork starts from it");
  const v1::AssignmentList list = worker_->WaitForAssignments(2);
  ASSERT_EQ(list.assignments_size(), 2);
  for (const v1::Assignment& assignment : list.assignments()) {
    const v1::TrainTask& task = assignment.train();
    EXPECT_EQ(task.init_from_directory(), task.job() == "jobs/fork" ? "checkpoints/x/10-1" : "");
  }
}

TEST_F(JobVerbs, ABatchIsCreatedAsAWholeOrNotAtAll) {
  v1::BatchCreateJobsRequest request;
  for (const char* id : {"a", "b", ""}) *request.add_requests() = ValidRequest(id);
  request.mutable_requests(1)->mutable_spec()->add_after()->set_job("a");
  request.set_request_id("batch-1");
  request.mutable_requests(2)->mutable_spec()->set_priority(2000);
  request.mutable_requests(1)->set_request_id("own");
  const absl::Status refused = Answer(&Stub::BatchCreateJobs, request).status();
  ASSERT_EQ(BadRequestOf(refused).field_violations_size(), 2) << refused;
  EXPECT_EQ(BadRequestOf(refused).field_violations(0).field(), "requests[1].request_id");
  EXPECT_EQ(BadRequestOf(refused).field_violations(1).field(), "requests[2].spec.priority");
  EXPECT_THAT(List(""), ElementsAre());
  request.mutable_requests(2)->mutable_spec()->set_priority(0);
  request.mutable_requests(1)->clear_request_id();
  request.set_validate_only(true);
  EXPECT_EQ(Answer(&Stub::BatchCreateJobs, request)->jobs_size(), 3);
  EXPECT_THAT(List(""), ElementsAre());
  request.set_validate_only(false);
  const auto created = Answer(&Stub::BatchCreateJobs, request);
  ASSERT_TRUE(created.ok()) << created.status();
  ASSERT_EQ(created->jobs_size(), 3);
  EXPECT_EQ(created->jobs(0).name(), "jobs/a");
  EXPECT_EQ(created->jobs(1).spec().after(0).job(), "jobs/a");
  EXPECT_EQ(created->jobs(1).spec().after(0).on(), "success");
  EXPECT_EQ(Answer(&Stub::BatchCreateJobs, request)->jobs(2).name(), created->jobs(2).name());
  EXPECT_EQ(List("").size(), 3u);

  v1::BatchCreateJobsRequest twice;
  for (const char* id : {"c", "c", "a"}) *twice.add_requests() = ValidRequest(id);
  const auto details = BadRequestOf(Answer(&Stub::BatchCreateJobs, twice).status());
  ASSERT_EQ(details.field_violations_size(), 2);
  EXPECT_EQ(details.field_violations(0).field(), "requests[1].job_id");
  EXPECT_EQ(details.field_violations(1).field(), "requests[2].job_id");
  ExpectStatus(Answer(&Stub::BatchCreateJobs, v1::BatchCreateJobsRequest()).status(),
               absl::StatusCode::kInvalidArgument, "requests: has 0 entries; allowed: 1 to 1000");
}

TEST_F(JobVerbs, ManyAreCancelledByAFilter) {
  ConnectWorker();
  Create("x", {{"team", "a"}});
  const std::string task = Train("x");
  Create("y", {{"team", "a"}});
  Create("z", {{"team", "b"}});
  v1::CancelJobsRequest request;
  ExpectStatus(Answer(&Stub::CancelJobs, request).status(), absl::StatusCode::kInvalidArgument,
               "filter: is empty");
  request.set_filter("labels.team=a");
  request.set_validate_only(true);
  EXPECT_EQ(Answer(&Stub::CancelJobs, request)->jobs_size(), 2);
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_RUNNING);
  request.set_validate_only(false);
  const auto cancelled = Answer(&Stub::CancelJobs, request);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->jobs_size(), 2);
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_STOPPING);
  End(task, true);
  WaitForState("x", v1::JOB_STATE_CANCELLED);
  EXPECT_NE(GetJob("z").state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobVerbs, ListsAreFilteredAndOrderedInStablePages) {
  constexpr int kJobs = 1000;
  for (int batch = 0; batch < kJobs; batch += 250) {
    v1::BatchCreateJobsRequest request;
    for (int i = batch; i < batch + 250; ++i) {
      v1::CreateJobRequest& one = *request.add_requests();
      one = ValidRequest("job-" + std::to_string(i));
      one.mutable_spec()->set_priority(i * 7 % 100);
      (*one.mutable_spec()->mutable_labels())["part"] = i % 2 == 0 ? "even" : "odd";
    }
    ASSERT_TRUE(Answer(&Stub::BatchCreateJobs, request).ok());
  }
  v1::ListJobsRequest request;
  request.set_filter("labels.part=even AND state=QUEUED AND priority>=50");
  request.set_order_by("priority desc");
  request.set_page_size(70);
  std::vector<std::string> names;
  int last = 1000;
  const auto begin = std::chrono::steady_clock::now();
  int pages = 0;
  do {
    const auto response = Answer(&Stub::ListJobs, request);
    ASSERT_TRUE(response.ok()) << response.status();
    ++pages;
    for (const v1::Job& job : response->jobs()) {
      EXPECT_LE(job.spec().priority(), last);
      last = job.spec().priority();
      names.push_back(job.name());
    }
    request.set_page_token(response->next_page_token());
    // What is new between the pages does not shift them.
    Create("between-" + std::to_string(pages), {{"part", "odd"}});
  } while (!request.page_token().empty());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::printf("%d pages over %d jobs: %.1f ms each\n", pages, kJobs, took.count() / pages);
  size_t expected = 0;
  for (int i = 0; i < kJobs; i += 2) expected += i * 7 % 100 >= 50 ? 1 : 0;
  EXPECT_EQ(names.size(), expected);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

TEST_F(JobVerbs, ListsSayWhatIsWrongWithTheRequest) {
  Create("a");
  Create("b");
  Create("c");
  EXPECT_THAT(List("", "name"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(List("", "create_time"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(List("name!=b", "name desc"), ElementsAre("c", "a"));
  EXPECT_THAT(List("", "step"), ElementsAre("c", "b", "a")) << "without a step: newest first";
  EXPECT_THAT(List("dataset=text AND preset=wave-field-test AND device=cpu AND name=a*"),
              ElementsAre("a"));
  v1::ListJobsRequest request;
  request.set_page_size(1);
  request.set_order_by("name");
  const auto first = Answer(&Stub::ListJobs, request);
  ASSERT_TRUE(first.ok());
  request.set_page_token(first->next_page_token());
  EXPECT_EQ(Answer(&Stub::ListJobs, request)->jobs(0).name(), "jobs/b");
  request.set_order_by("name desc");
  ExpectStatus(Answer(&Stub::ListJobs, request).status(), absl::StatusCode::kInvalidArgument,
               "page_token");
  request.set_order_by("name");
  request.set_filter("name=a*");
  ExpectStatus(Answer(&Stub::ListJobs, request).status(), absl::StatusCode::kInvalidArgument,
               "page_token");
  request.clear_page_token();
  request.set_filter("state=running");
  ExpectStatus(Answer(&Stub::ListJobs, request).status(), absl::StatusCode::kInvalidArgument,
               "RUNNING");
  request.set_filter("");
  request.set_order_by("size");
  ExpectStatus(Answer(&Stub::ListJobs, request).status(), absl::StatusCode::kInvalidArgument,
               "order_by: is 'size'");
}

}  // namespace
}  // namespace wavefield::coordinator
