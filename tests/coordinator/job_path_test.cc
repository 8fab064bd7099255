// Jobs from submission to their end, over gRPC, with workers that only say what happens.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>

#include "coordinator/jobs/timestamps.h"
#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

class JobPath : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    probe_ = ReadFile(StorageRoot() / "probe").value();
    worker_ = std::make_unique<FakeWorker>("a", "a1", 2, probe_);
    ASSERT_TRUE(worker_->Connect(channel_).ok());
  }

  void TearDown() override { worker_.reset(); }

  // A job whose ranks 0 and 1 train on the worker.
  void StartJob(const std::string& id, int max_restarts = 3) {
    v1::CreateJobRequest request = ValidRequest(id, 2);
    request.mutable_spec()->mutable_restart()->set_max_restarts(max_restarts);
    request.mutable_spec()->mutable_checkpoint()->set_keep_last(2);
    ASSERT_TRUE(CreateJob(request).ok());
    const v1::AssignmentList list = worker_->WaitForAssignments(2);
    ASSERT_EQ(list.assignments_size(), 2) << list.ShortDebugString();
    ASSERT_TRUE(worker_->ReportStarted(id + "/1/0", 100).ok());
    ASSERT_TRUE(worker_->ReportStarted(id + "/1/1", 101).ok());
    ASSERT_TRUE(worker_->ReportTraining(id + "/1/0").ok());
    WaitForState(id, v1::JOB_STATE_RUNNING);
  }

  std::vector<v1::Checkpoint> Checkpoints(const std::string& job) {
    v1::ListCheckpointsRequest request;
    request.set_parent("jobs/" + job);
    v1::ListCheckpointsResponse response;
    EXPECT_TRUE(
        Call(*checkpoints_, &v1::CheckpointService::Stub::ListCheckpoints, request, response).ok());
    return {response.checkpoints().begin(), response.checkpoints().end()};
  }

  absl::Status ReportCheckpoint(const std::string& task, int64_t step, int epoch) {
    const std::string job = task.substr(0, task.find('/'));
    return worker_->ReportCheckpoint(
        task, StorageRoot().string(),
        "checkpoints/" + job + "/" + std::to_string(step) + "-" + std::to_string(epoch), step);
  }

  absl::Status Cancel(const std::string& id) {
    v1::CancelJobRequest request;
    request.set_name("jobs/" + id);
    v1::Job job;
    return Call(*jobs_, &v1::JobService::Stub::CancelJob, request, job);
  }

  std::string probe_;
  std::unique_ptr<FakeWorker> worker_;
};

TEST_F(JobPath, ACudaJobTakesGpusAndWaitsForOneThatAnotherProcessUses) {
  v1::Gpu first = FakeGpu(0, 2), second = FakeGpu(1, 3);
  FakeWorker worker("b", "b1", 2, probe_);
  second.set_unavailable("3.0 GiB of its memory are used by other processes");
  worker.SetGpus({first, second});
  ASSERT_TRUE(worker.Connect(channel_).ok());
  ASSERT_TRUE(worker.Heartbeat().ok());
  v1::CreateJobRequest request = ValidRequest("x", 2);
  request.mutable_spec()->mutable_resources()->set_device("cuda");
  ASSERT_TRUE(CreateJob(request).ok());
  const v1::Job waits =
      WaitForJob("x", [](const v1::Job& job) { return job.state_message().find("needs") == 0; });
  EXPECT_EQ(waits.state_message(),
            "needs 2 cuda slots, 1 of 2 free; another process on workers/b holds 1");
  second.clear_unavailable();
  worker.SetGpus({first, second});
  const v1::AssignmentList list = worker.WaitForAssignments(2);
  ASSERT_EQ(list.assignments_size(), 2);
  EXPECT_EQ(list.assignments(0).slot(), 2);
  EXPECT_EQ(list.assignments(1).slot(), 3);
  EXPECT_EQ(list.assignments(0).train().spec().resources().device(), "cuda");
  v1::ListWorkersResponse workers;
  ASSERT_TRUE(
      Call(*workers_, &v1::WorkerService::Stub::ListWorkers, v1::ListWorkersRequest(), workers)
          .ok());
  ASSERT_EQ(workers.workers_size(), 2);
  EXPECT_EQ(workers.workers(1).used_slots(), 0) << "of the CPU";
  EXPECT_EQ(workers.workers(1).gpus(1).holder(), "jobs/x");
  EXPECT_EQ(worker_->WaitForAssignments(0).assignments_size(), 0);
}

TEST_F(JobPath, GpusOfARegistrationAreChecked) {
  FakeWorker worker("b", "b1", 2, probe_);
  worker.SetGpus({FakeGpu(0, 1)});
  EXPECT_THAT(worker.Connect(channel_).ToString(), HasSubstr("gpus.slot: is 1; allowed: 2 to 2"));
  worker.SetGpus({FakeGpu(0, 2), FakeGpu(1, 2)});
  EXPECT_THAT(worker.Connect(channel_).ToString(), HasSubstr("gpus.slot: is 2 twice"));
  worker.SetGpus(std::vector<v1::Gpu>(65, FakeGpu(0, -1)));
  EXPECT_THAT(worker.Connect(channel_).ToString(), HasSubstr("gpus: is 65; allowed: 0 to 64"));
}

TEST_F(JobPath, FromSubmissionToSuccess) {
  ASSERT_TRUE(CreateJob(ValidRequest("x", 2)).ok());
  const v1::AssignmentList list = worker_->WaitForAssignments(2);
  ASSERT_EQ(list.assignments_size(), 2);
  const v1::TrainTask& train = list.assignments(1).train();
  EXPECT_EQ(list.assignments(1).task_id(), "x/1/1");
  EXPECT_EQ(train.job(), "jobs/x");
  EXPECT_EQ(train.world_size(), 2);
  EXPECT_EQ(train.dataset_directory(), "datasets/text");
  EXPECT_EQ(train.checkpoint_directory(), "checkpoints/x");
  EXPECT_EQ(train.spec().model().d_model(), 32) << "the preset is spelled out";
  EXPECT_EQ(train.spec().training().micro_batch_size(), 4) << "defaults are filled in";

  for (const char* task : {"x/1/0", "x/1/1"}) {
    ASSERT_TRUE(worker_->ReportStarted(task, 100).ok());
    ASSERT_TRUE(worker_->ReportTraining(task).ok());
  }
  EXPECT_EQ(WaitForState("x", v1::JOB_STATE_RUNNING).placements(0).pid(), 100);
  for (int64_t step = 1; step <= 10; ++step) ASSERT_TRUE(worker_->ReportStep("x/1/0", step).ok());
  EXPECT_EQ(GetJob("x").last_step().step(), 10);
  ASSERT_TRUE(worker_->ReportFinished("x/1/0", false).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 0).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/1", 0).ok());
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(worker_->WaitForAssignments(0).assignments_size(), 0);
}

TEST_F(JobPath, WaitsInNumbersUntilSlotsAreFree) {
  StartJob("x");
  ASSERT_TRUE(CreateJob(ValidRequest("y", 1)).ok());
  const v1::Job waiting = WaitForJob("y", [](const v1::Job& job) {
    return job.state_message() == "needs 1 cpu slot, 0 of 2 free; jobs/x holds 2";
  });
  EXPECT_EQ(waiting.reason(), v1::JOB_REASON_WAITING_FOR_SLOTS);
  ASSERT_TRUE(worker_->ReportFinished("x/1/0", false).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 0).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/1", 0).ok());
  WaitForState("y", v1::JOB_STATE_STARTING);
}

TEST_F(JobPath, ADeadRankIsRestartedFromTheNewestCheckpoint) {
  StartJob("x");
  ASSERT_TRUE(worker_->ReportStep("x/1/0", 1).ok());
  ASSERT_TRUE(ReportCheckpoint("x/1/0", 1, 1).ok());
  ASSERT_TRUE(ReportCheckpoint("x/1/0", 2, 1).ok());
  ASSERT_TRUE(worker_->ReportSignal("x/1/1", 9).ok());
  worker_->WaitForAssignments(0);
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_QUEUED) << "rank 0 has not ended yet";
  ASSERT_TRUE(worker_->ReportSignal("x/1/0", 9).ok());
  const v1::AssignmentList list = worker_->WaitForAssignments(2);
  ASSERT_EQ(list.assignments_size(), 2);
  EXPECT_EQ(list.assignments(0).task_id(), "x/2/0");
  EXPECT_EQ(list.assignments(0).train().attempt(), 2);
  EXPECT_THAT(list.assignments(0).train().resume_candidates(),
              testing::ElementsAre("checkpoints/x/2-1", "checkpoints/x/1-1"));
  EXPECT_EQ(GetJob("x").restarts(), 1);
}

TEST_F(JobPath, FailsWithTheRootCauseWhenRestartsAreUsedUp) {
  StartJob("x", 0);
  ASSERT_TRUE(worker_
                  ->Report("x/1/1",
                           [](v1::WorkerEvent& event) {
                             event.mutable_trainer()->mutable_failure()->set_message(
                                 "no such thing as a free lunch");
                           })
                  .ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/1", 1).ok());
  const v1::Job job = GetJob("x");
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(job.state_message(), HasSubstr("rank 1 on workers/a ended with exit code 1"));
  EXPECT_THAT(job.state_message(), HasSubstr("free lunch"));
}

TEST_F(JobPath, EventsOfAnEarlierEpochChangeNothing) {
  StartJob("x");
  ASSERT_TRUE(worker_->ReportSignal("x/1/1", 9).ok());
  ASSERT_TRUE(worker_->ReportStep("x/1/0", 77).ok()) << "acknowledged";
  ASSERT_TRUE(ReportCheckpoint("x/1/0", 77, 1).ok());
  EXPECT_FALSE(GetJob("x").has_last_step());
  EXPECT_TRUE(Checkpoints("x").empty());
}

TEST_F(JobPath, CheckpointsAreCataloguedAndOldOnesRemoved) {
  StartJob("x");
  for (int64_t step = 1; step <= 4; ++step) ASSERT_TRUE(ReportCheckpoint("x/1/0", step, 1).ok());
  const auto checkpoints = Checkpoints("x");
  ASSERT_EQ(checkpoints.size(), 2u) << "keep_last is 2";
  EXPECT_EQ(checkpoints[0].name(), "jobs/x/checkpoints/4-1");
  EXPECT_EQ(checkpoints[0].loss(), 1.5);
  EXPECT_EQ(checkpoints[1].step(), 3);
  EXPECT_EQ(GetJob("x").latest_checkpoint(), "jobs/x/checkpoints/4-1");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::filesystem::exists(StorageRoot() / "checkpoints/x/1-1") &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(std::filesystem::exists(StorageRoot() / "checkpoints/x/1-1"));
  EXPECT_TRUE(std::filesystem::exists(StorageRoot() / "checkpoints/x/3-1"));
}

TEST_F(JobPath, ACheckpointOutsideItsDirectoryIsRefusedWithAWarning) {
  StartJob("x");
  ASSERT_TRUE(worker_
                  ->Report("x/1/0",
                           [](v1::WorkerEvent& event) {
                             auto& saved = *event.mutable_trainer()->mutable_checkpoint_saved();
                             saved.set_step(1);
                             saved.set_directory("checkpoints/x/../../../etc");
                             saved.set_manifest(R"({"files": [{"name": "passwd"}]})");
                           })
                  .ok());
  EXPECT_TRUE(Checkpoints("x").empty());
  const v1::Job job = GetJob("x");
  ASSERT_EQ(job.warnings_size(), 1);
  EXPECT_THAT(job.warnings(0), HasSubstr("not below the job's directory"));
}

TEST_F(JobPath, CancelStopsInAnOrderlyWay) {
  StartJob("x");
  ASSERT_TRUE(Cancel("x").ok());
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_STOPPING);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!worker_->WaitForAssignments(2).assignments(0).stop_requested() &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(worker_->WaitForAssignments(2).assignments(0).stop_requested());
  ASSERT_TRUE(worker_->ReportFinished("x/1/0", true).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 0).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/1", 0).ok());
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(Cancel("x").ok()) << "cancelling again changes nothing";
}

TEST_F(JobPath, ASilentWorkerIsLost) {
  StartJob("x");
  worker_->Hang();
  const v1::Job job = WaitForState("x", v1::JOB_STATE_QUEUED);
  ASSERT_EQ(job.warnings_size(), 1);
  EXPECT_THAT(job.warnings(0), HasSubstr("lost with workers/a: no heartbeat for"));
  EXPECT_TRUE(absl::IsNotFound(worker_->Heartbeat())) << "it must register again";
  WaitForJob("x",
             [](const v1::Job& j) { return j.reason() == v1::JOB_REASON_WAITING_FOR_WORKERS; });
}

TEST_F(JobPath, HowAttemptsAndJobsEndIsLogged) {
  StartJob("x", 1);
  testing::internal::CaptureStdout();
  EXPECT_TRUE(worker_->ReportSignal("x/1/0", 9).ok());
  EXPECT_TRUE(worker_->ReportExit("x/1/1", 1).ok());
  WaitForJob("x", [](const v1::Job& job) { return job.attempt() == 2; });
  EXPECT_TRUE(worker_->ReportSignal("x/2/0", 9).ok());
  WaitForState("x", v1::JOB_STATE_FAILED);
  Stop();
  const std::string log = testing::internal::GetCapturedStdout();
  EXPECT_THAT(log, HasSubstr("jobs/x is queued again: restarts (1 of 1) because rank 0"));
  EXPECT_THAT(log, HasSubstr("jobs/x failed: after 1 of 1 restarts: rank 0"));
}

TEST_F(JobPath, ANonsensicalClockOfAWorkerCanBePrinted) {
  worker_->Hang();
  for (const int64_t seconds : {INT64_MAX, INT64_MIN}) {
    v1::HeartbeatRequest heartbeat;
    heartbeat.set_name("workers/a");
    heartbeat.set_incarnation("a1");
    heartbeat.mutable_worker_time()->set_seconds(seconds);
    v1::HeartbeatResponse answer;
    ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::Heartbeat, heartbeat, answer).ok());
    v1::ListWorkersResponse response;
    ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ListWorkers, {}, response).ok());
    std::string json;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(response, &json).ok());
  }
}

TEST_F(JobPath, AWorkersClockDecidesNothing) {
  const absl::Time start = absl::Now();
  for (const auto& [id, ahead] :
       {std::pair("x", absl::Hours(9000)), std::pair("y", -absl::Hours(9000))}) {
    worker_->SetHost({}, ahead);
    StartJob(id);
    // Longer than a lease.
    std::this_thread::sleep_for(std::chrono::seconds(3));
    v1::ListWorkersResponse workers;
    ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ListWorkers, {}, workers).ok());
    EXPECT_NEAR(static_cast<double>(workers.workers(0).clock_difference().seconds()),
                absl::ToDoubleSeconds(ahead), 60);
    ASSERT_TRUE(worker_->ReportFinished(id + std::string("/1/0"), false).ok());
    ASSERT_TRUE(worker_->ReportExit(id + std::string("/1/0"), 0).ok());
    ASSERT_TRUE(worker_->ReportExit(id + std::string("/1/1"), 0).ok());
    const v1::Job job = WaitForState(id, v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(job.attempt(), 1);
    for (const auto& time : {job.create_time(), job.start_time(), job.end_time()}) {
      EXPECT_GE(FromTimestamp(time), start - absl::Seconds(1));
      EXPECT_LE(FromTimestamp(time), absl::Now() + absl::Seconds(1));
    }
  }
  StartJob("z");
  worker_->Hang();
  WaitForState("z", v1::JOB_STATE_QUEUED);
}

TEST_F(JobPath, AWorkerStartedAnewHasLostItsTasksAtOnce) {
  StartJob("x");
  FakeWorker anew("a", "a2", 2, probe_);
  ASSERT_TRUE(anew.Connect(channel_).ok());
  const v1::AssignmentList list = anew.WaitForAssignments(2);
  ASSERT_EQ(list.assignments_size(), 2);
  EXPECT_EQ(list.assignments(0).task_id(), "x/2/0");
  EXPECT_TRUE(absl::IsNotFound(worker_->ReportStep("x/1/0", 5)))
      << "the old incarnation is refused";
}

TEST_F(JobPath, RunningTasksAreReattachedAfterTheCoordinatorWasAway) {
  StartJob("x");
  ASSERT_TRUE(worker_->ReportStep("x/1/0", 1).ok());
  worker_->Disconnect();
  Restart();
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_RUNNING);
  ASSERT_TRUE(worker_->Connect(channel_, {"x/1/0", "x/1/1"}).ok());
  EXPECT_EQ(worker_->WaitForAssignments(2).assignments_size(), 2);
  for (int64_t step = 2; step <= 4; ++step) ASSERT_TRUE(worker_->ReportStep("x/1/0", step).ok());
  v1::ListMetricsRequest request;
  request.set_parent("jobs/x");
  v1::ListMetricsResponse response;
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListMetrics, request, response).ok());
  ASSERT_EQ(response.steps_size(), 4) << "the history has no hole";
  for (int i = 0; i < 4; ++i) EXPECT_EQ(response.steps(i).step(), i + 1);
  EXPECT_EQ(GetJob("x").attempt(), 1);
}

TEST_F(JobPath, ATaskThatNobodyRunsAnyMoreCountsAsDead) {
  StartJob("x");
  worker_->Disconnect();
  Restart();
  ASSERT_TRUE(worker_->Connect(channel_, {"x/1/0"}).ok());
  const v1::Job job = WaitForJob("x", [](const v1::Job& j) { return j.restarts() == 1; });
  EXPECT_THAT(job.warnings(0), HasSubstr("rank 1 on workers/a is gone"));
}

TEST_F(JobPath, AWorkerThatDoesNotComeBackAfterARestartIsLost) {
  options_.lease = absl::Milliseconds(300);
  StartJob("x");
  worker_->Disconnect();
  Restart();
  EXPECT_EQ(GetJob("x").state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(WaitForState("x", v1::JOB_STATE_QUEUED).restarts(), 1);
}

TEST_F(JobPath, ATaskWithdrawnBeforeItsWorkerSawItFreesItsSlot) {
  ASSERT_TRUE(CreateJob(ValidRequest("x", 2)).ok());
  worker_->WaitForAssignments(2);
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 1).ok());
  // Rank 1 was never reported: neither as started nor as ended.
  WaitForJob("x", [](const v1::Job& job) { return job.attempt() == 2; });
}

TEST_F(JobPath, RendezvousCarriesKeysWithinAnEpochOnly) {
  StartJob("x");
  v1::SetRendezvousRequest set;
  set.set_job("jobs/x");
  set.set_epoch(1);
  set.set_key("address/0");
  set.set_value("127.0.0.1:5000");
  v1::SetRendezvousResponse empty;
  v1::WaitRendezvousRequest wait;
  wait.set_job("jobs/x");
  wait.set_epoch(1);
  wait.set_key("address/0");
  v1::WaitRendezvousResponse answer;
  std::thread waiter([&] {
    EXPECT_TRUE(Call(worker_->stub(), &v1::WorkerService::Stub::WaitRendezvous, wait, answer).ok());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto set_key = [&] {
    return Call(worker_->stub(), &v1::WorkerService::Stub::SetRendezvous, set, empty);
  };
  EXPECT_TRUE(set_key().ok());
  waiter.join();
  EXPECT_EQ(answer.value(), "127.0.0.1:5000");
  EXPECT_TRUE(set_key().ok()) << "a retry";
  set.set_value("another");
  EXPECT_TRUE(absl::IsAlreadyExists(set_key()));
  set.set_key(std::string(300, 'k'));
  EXPECT_TRUE(absl::IsInvalidArgument(set_key()));

  wait.set_key("never");
  absl::Status ended;
  std::thread other([&] {
    v1::WaitRendezvousResponse none;
    ended = Call(worker_->stub(), &v1::WorkerService::Stub::WaitRendezvous, wait, none);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(worker_->ReportSignal("x/1/1", 9).ok());
  other.join();
  EXPECT_TRUE(absl::IsAborted(ended)) << ended;
  set.set_key("late");
  EXPECT_TRUE(absl::IsFailedPrecondition(set_key()));
}

TEST_F(JobPath, AWorkerWithoutTheSharedStorageIsRefused) {
  FakeWorker stranger("b", "b1", 1, "something else");
  const absl::Status status = stranger.Connect(channel_);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), "STORAGE_NOT_SHARED");
}

}  // namespace
}  // namespace wavefield::coordinator
