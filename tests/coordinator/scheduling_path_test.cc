// Queue, preemption, quotas, cordons and explanations, over gRPC.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using v1::Blocker;
using v1::RootCause;

class SchedulingPath : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    worker_ = MakeWorker("a", "a1");
  }
  void TearDown() override { worker_.reset(); }

  // With two slots.
  std::unique_ptr<FakeWorker> MakeWorker(const std::string& id, const std::string& incarnation) {
    auto worker =
        std::make_unique<FakeWorker>(id, incarnation, 2, ReadFile(StorageRoot() / "probe").value());
    EXPECT_TRUE(worker->Connect(channel_).ok());
    return worker;
  }

  void Submit(const std::string& id, int world_size, int priority = 0,
              const std::string& team = "") {
    v1::CreateJobRequest request = ValidRequest(id, world_size);
    request.mutable_spec()->set_priority(priority);
    request.mutable_spec()->mutable_training()->set_max_steps(100);
    if (!team.empty()) (*request.mutable_spec()->mutable_labels())["team"] = team;
    const auto job = CreateJob(request);
    ASSERT_TRUE(job.ok()) << job.status();
  }

  // Both ranks train on the worker.
  void Train(const std::string& id, int epoch = 1) {
    ASSERT_EQ(worker_->WaitForAssignments(2).assignments_size(), 2);
    for (const char* rank : {"0", "1"}) {
      ASSERT_TRUE(worker_->ReportStarted(Task(id, epoch, rank)).ok());
      ASSERT_TRUE(worker_->ReportTraining(Task(id, epoch, rank)).ok());
    }
    WaitForState(id, v1::JOB_STATE_RUNNING);
  }
  void Stop(const std::string& id, int epoch = 1) {
    ASSERT_TRUE(worker_->ReportFinished(Task(id, epoch, "0"), true).ok());
    ASSERT_TRUE(worker_->ReportExit(Task(id, epoch, "0"), 0).ok());
    ASSERT_TRUE(worker_->ReportExit(Task(id, epoch, "1"), 0).ok());
  }
  static std::string Task(const std::string& id, int epoch, const std::string& rank) {
    return id + "/" + std::to_string(epoch) + "/" + rank;
  }

  v1::Job WaitForReason(const std::string& id, v1::JobReason reason) {
    return WaitForJob(id, [&](const v1::Job& job) { return job.reason() == reason; });
  }

  v1::JobExplanation Explain(const std::string& id) {
    v1::ExplainJobRequest request;
    request.set_name("jobs/" + id);
    v1::JobExplanation explanation;
    const absl::Status status =
        Call(*jobs_, &v1::JobService::Stub::ExplainJob, request, explanation);
    EXPECT_TRUE(status.ok()) << status;
    return explanation;
  }

  absl::StatusOr<v1::Worker> Cordon(const std::string& id, const std::string& note = "",
                                    const std::string& request_id = "") {
    v1::CordonWorkerRequest request;
    request.set_name("workers/" + id);
    request.set_note(note);
    request.set_request_id(request_id);
    v1::Worker worker;
    const absl::Status status =
        Call(*workers_, &v1::WorkerService::Stub::CordonWorker, request, worker);
    if (!status.ok()) return status;
    return worker;
  }
  v1::Worker Uncordon(const std::string& id) {
    v1::UncordonWorkerRequest request;
    request.set_name("workers/" + id);
    v1::Worker worker;
    EXPECT_TRUE(Call(*workers_, &v1::WorkerService::Stub::UncordonWorker, request, worker).ok());
    return worker;
  }
  v1::Worker Drain(const std::string& id) {
    v1::DrainWorkerRequest request;
    request.set_name("workers/" + id);
    request.set_note("a new disk");
    v1::Worker worker;
    EXPECT_TRUE(Call(*workers_, &v1::WorkerService::Stub::DrainWorker, request, worker).ok());
    return worker;
  }
  std::vector<v1::Worker> Workers() {
    v1::ListWorkersResponse response;
    EXPECT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ListWorkers, {}, response).ok());
    return {response.workers().begin(), response.workers().end()};
  }

  std::unique_ptr<FakeWorker> worker_;
};

TEST_F(SchedulingPath, APreemptedJobYieldsAndGoesOnAfterTheOneThatTookItsSlots) {
  Submit("low", 2);
  Train("low");
  Submit("near", 2, 99);
  EXPECT_EQ(WaitForReason("near", v1::JOB_REASON_WAITING_FOR_SLOTS).state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(GetJob("low").state(), v1::JOB_STATE_RUNNING) << "the margin is 100";
  Submit("high", 2, 100);
  const v1::Job yields = WaitForState("low", v1::JOB_STATE_STOPPING);
  EXPECT_EQ(yields.reason(), v1::JOB_REASON_PREEMPTED);
  EXPECT_EQ(yields.state_message(), "makes room for jobs/high, whose priority is 100");
  const v1::JobExplanation explanation = Explain("high");
  ASSERT_EQ(explanation.blockers_size(), 1) << explanation.ShortDebugString();
  EXPECT_EQ(explanation.blockers(0).kind(), Blocker::PREEMPTION_UNDER_WAY);
  EXPECT_EQ(explanation.blockers(0).blocked(), 2);
  EXPECT_THAT(explanation.blockers(0).resources(), ElementsAre("jobs/low"));
  EXPECT_TRUE(explanation.has_expected_start());
  Stop("low");
  WaitForState("high", v1::JOB_STATE_STARTING);
  const v1::Job waits = WaitForReason("low", v1::JOB_REASON_WAITING_FOR_TURN);
  EXPECT_EQ(waits.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(waits.restarts(), 0) << "costs no restart";
  ASSERT_EQ(waits.warnings_size(), 1);
  EXPECT_THAT(waits.warnings(0), HasSubstr("attempt 1: makes room for jobs/high"));
}

TEST_F(SchedulingPath, TheQueueIsShownInItsOrderWithPages) {
  Submit("running", 2);
  Train("running");
  Submit("first", 1, 50);
  Submit("second", 1);
  Submit("third", 1, -50);
  WaitForReason("third", v1::JOB_REASON_WAITING_FOR_TURN);
  v1::ListQueueRequest request;
  request.set_page_size(2);
  v1::ListQueueResponse page;
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListQueue, request, page).ok());
  ASSERT_EQ(page.entries_size(), 2);
  EXPECT_EQ(page.entries(0).job(), "jobs/first");
  EXPECT_EQ(page.entries(0).position(), 1);
  EXPECT_EQ(page.entries(0).priority(), 50);
  EXPECT_NEAR(page.entries(0).effective_priority(), 50, 1);
  EXPECT_EQ(page.entries(0).reason(), v1::JOB_REASON_WAITING_FOR_SLOTS);
  EXPECT_EQ(page.entries(0).device(), "cpu");
  EXPECT_TRUE(page.entries(0).has_queue_time());
  EXPECT_FALSE(page.entries(0).has_expected_start()) << "no step is known of the running job";
  EXPECT_EQ(page.entries(1).job(), "jobs/second");
  EXPECT_THAT(page.entries(1).message(), HasSubstr("its turn comes after jobs/first"));
  request.set_page_token(page.next_page_token());
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListQueue, request, page).ok());
  ASSERT_EQ(page.entries_size(), 1);
  EXPECT_EQ(page.entries(0).job(), "jobs/third");
  EXPECT_TRUE(page.next_page_token().empty());
  request.set_page_size(-1);
  EXPECT_TRUE(
      absl::IsInvalidArgument(Call(*jobs_, &v1::JobService::Stub::ListQueue, request, page)));
}

TEST_F(SchedulingPath, AWaitingJobIsExplainedWithTheTimeItShouldStart) {
  Submit("running", 2);
  Train("running");
  ASSERT_TRUE(worker_
                  ->Report("running/1/0",
                           [](v1::WorkerEvent& event) {
                             auto& step = *event.mutable_trainer()->mutable_step();
                             step.set_step(40);
                             step.set_step_seconds(60);
                           })
                  .ok());
  Submit("next", 1);
  WaitForReason("next", v1::JOB_REASON_WAITING_FOR_SLOTS);
  const v1::JobExplanation next = Explain("next");
  ASSERT_EQ(next.blockers_size(), 1);
  EXPECT_EQ(next.blockers(0).kind(), Blocker::SLOTS_HELD);
  EXPECT_EQ(next.blockers(0).needed(), 1);
  EXPECT_EQ(next.blockers(0).available(), 0);
  EXPECT_EQ(next.blockers(0).blocked(), 2);
  EXPECT_THAT(next.summary(), HasSubstr("needs 1 cpu slot, 0 of 2 free; jobs/running holds 2 slots "
                                        "and should end about"));
  const absl::Duration wait = absl::FromUnixSeconds(next.expected_start().seconds()) - absl::Now();
  EXPECT_GT(wait, absl::Minutes(55));
  EXPECT_LT(wait, absl::Minutes(61)) << "60 steps of a minute";
  EXPECT_THAT(Explain("running").summary(), HasSubstr("step 40 of 100 is done; it should end"));
}

TEST_F(SchedulingPath, QuotasHoldOverGrpc) {
  worker_.reset();
  options_.scheduler.quotas = {{"team", "red", 1}};
  Restart();
  worker_ = MakeWorker("a", "a1");
  Submit("one", 1, 0, "red");
  WaitForState("one", v1::JOB_STATE_STARTING);
  Submit("two", 1, 0, "red");
  WaitForReason("two", v1::JOB_REASON_WAITING_FOR_QUOTA);
  const v1::JobExplanation two = Explain("two");
  ASSERT_EQ(two.blockers_size(), 1);
  EXPECT_EQ(two.blockers(0).kind(), Blocker::QUOTA);
  EXPECT_EQ(two.blockers(0).available(), 0);
  EXPECT_THAT(two.blockers(0).resources(), ElementsAre("jobs/one"));
  Submit("other", 1, 0, "blue");
  WaitForState("other", v1::JOB_STATE_STARTING);
}

TEST_F(SchedulingPath, JobsAreTakenInTheirOrderOfDependence) {
  Submit("base", 2);
  Train("base");
  v1::CreateJobRequest request = ValidRequest("next", 1);
  request.mutable_spec()->add_after()->set_job("jobs/base");
  ASSERT_TRUE(CreateJob(request).ok());
  EXPECT_THAT(WaitForReason("next", v1::JOB_REASON_WAITING_FOR_JOB).state_message(),
              HasSubstr("waits for the end of 1 of 1 job: jobs/base is running"));
  const v1::JobExplanation next = Explain("next");
  ASSERT_EQ(next.blockers_size(), 1);
  EXPECT_EQ(next.blockers(0).kind(), Blocker::DEPENDENCY);
  EXPECT_THAT(next.blockers(0).resources(), ElementsAre("jobs/base"));
  v1::ListQueueResponse queue;
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListQueue, {}, queue).ok());
  EXPECT_EQ(queue.entries_size(), 0) << "it does not wait for slots yet";
  ASSERT_TRUE(worker_->ReportFinished("base/1/0", false).ok());
  ASSERT_TRUE(worker_->ReportExit("base/1/0", 0).ok());
  ASSERT_TRUE(worker_->ReportExit("base/1/1", 0).ok());
  WaitForState("next", v1::JOB_STATE_STARTING);
}

TEST_F(SchedulingPath, AJobWhoseDependencyFailsHasThatForItsCause) {
  v1::CreateJobRequest request = ValidRequest("base", 2);
  request.mutable_spec()->mutable_restart()->set_max_restarts(0);
  ASSERT_TRUE(CreateJob(request).ok());
  Train("base");
  request = ValidRequest("next", 1);
  request.mutable_spec()->add_after()->set_job("jobs/base");
  ASSERT_TRUE(CreateJob(request).ok());
  ASSERT_TRUE(worker_->ReportSignal("base/1/1", 9).ok());
  EXPECT_EQ(WaitForState("next", v1::JOB_STATE_FAILED).reason(), v1::JOB_REASON_DEPENDENCY_FAILED);
  EXPECT_EQ(Explain("next").root_cause().kind(), RootCause::DEPENDENCY_FAILED);
}

TEST_F(SchedulingPath, ACordonedWorkerGetsNothingNewAndKeepsWhatRuns) {
  Submit("running", 1);
  WaitForState("running", v1::JOB_STATE_STARTING);
  const auto cordoned = Cordon("a", "a new disk");
  ASSERT_TRUE(cordoned.ok()) << cordoned.status();
  EXPECT_TRUE(cordoned->cordoned());
  EXPECT_FALSE(cordoned->draining());
  EXPECT_EQ(cordoned->cordon_note(), "a new disk");
  EXPECT_EQ(cordoned->used_slots(), 1);
  EXPECT_EQ(cordoned->state(), v1::WORKER_STATE_READY);
  Submit("waiting", 1);
  EXPECT_EQ(WaitForReason("waiting", v1::JOB_REASON_WAITING_FOR_WORKERS).state_message(),
            "needs 1 cpu slot; no worker offers cpu; 2 on the cordoned workers/a");
  EXPECT_EQ(GetJob("running").state(), v1::JOB_STATE_STARTING);
  const v1::JobExplanation waiting = Explain("waiting");
  ASSERT_EQ(waiting.blockers_size(), 1);
  EXPECT_EQ(waiting.blockers(0).kind(), Blocker::WORKER_CORDONED);
  EXPECT_EQ(waiting.blockers(0).blocked(), 2);
  EXPECT_FALSE(Uncordon("a").cordoned());
  WaitForState("waiting", v1::JOB_STATE_STARTING);
}

TEST_F(SchedulingPath, ACordonOutlivesTheWorkerAndTheCoordinator) {
  ASSERT_TRUE(Cordon("a", "a new disk").ok());
  worker_ = MakeWorker("a", "a2");
  ASSERT_EQ(Workers().size(), 1u);
  EXPECT_TRUE(Workers()[0].cordoned());
  worker_->Disconnect();
  Restart();
  worker_ = MakeWorker("a", "a2");
  EXPECT_TRUE(Workers()[0].cordoned());
  EXPECT_EQ(Workers()[0].cordon_note(), "a new disk");
  // It ends in an orderly way, and comes back.
  ASSERT_TRUE(worker_->Heartbeat(0, true).ok());
  worker_->Disconnect();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!Workers().empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(Workers().empty());
  worker_ = MakeWorker("a", "a3");
  EXPECT_TRUE(Workers()[0].cordoned());
  EXPECT_FALSE(Uncordon("a").cordoned());
  EXPECT_FALSE(Workers()[0].cordoned());
}

TEST_F(SchedulingPath, ADrainedWorkerIsEmptiedAndItsJobsGoOnElsewhere) {
  Submit("x", 2);
  Train("x");
  const v1::Worker drained = Drain("a");
  EXPECT_TRUE(drained.cordoned());
  EXPECT_TRUE(drained.draining());
  const v1::Job yields = WaitForState("x", v1::JOB_STATE_STOPPING);
  EXPECT_EQ(yields.reason(), v1::JOB_REASON_WORKER_DRAINED);
  Stop("x");
  WaitForReason("x", v1::JOB_REASON_WAITING_FOR_WORKERS);
  EXPECT_EQ(Workers()[0].used_slots(), 0) << "it is empty";
  const auto other = MakeWorker("b", "b1");
  EXPECT_EQ(other->WaitForAssignments(2).assignments_size(), 2);
  const v1::Job again = GetJob("x");
  EXPECT_EQ(again.attempt(), 2);
  EXPECT_EQ(again.restarts(), 0);
}

TEST_F(SchedulingPath, RequestsAboutWorkersAreCheckedAndAnsweredOnce) {
  EXPECT_TRUE(absl::IsNotFound(Cordon("nobody").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Cordon("../a").status()));
  EXPECT_THAT(Cordon("a", std::string(201, 'n')).status().ToString(),
              HasSubstr("note: has 201 bytes; at most 200 are allowed"));
  EXPECT_THAT(Cordon("a", "two\nlines").status().ToString(), HasSubstr("control characters"));
  ASSERT_TRUE(Cordon("a", "first", "request-1").ok());
  Uncordon("a");
  EXPECT_EQ(Cordon("a", "first", "request-1")->cordon_note(), "first") << "the first answer";
  EXPECT_FALSE(Workers()[0].cordoned()) << "a retry changes nothing";
  EXPECT_EQ(ReasonOf(Cordon("a", "second", "request-1").status()), "REQUEST_ID_REUSED");
}

TEST_F(SchedulingPath, AFailedJobIsExplainedByTheRankThatFailedFirst) {
  v1::CreateJobRequest request = ValidRequest("x", 2);
  request.mutable_spec()->mutable_restart()->set_max_restarts(1);
  ASSERT_TRUE(CreateJob(request).ok());
  Train("x");
  ASSERT_TRUE(worker_->ReportStep("x/1/0", 5).ok());
  ASSERT_TRUE(worker_->ReportSignal("x/1/1", 11).ok());
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 76).ok());
  Train("x", 2);
  EXPECT_FALSE(Explain("x").has_root_cause()) << "it runs";
  ASSERT_TRUE(worker_
                  ->Report("x/2/0",
                           [](v1::WorkerEvent& event) {
                             auto& failure = *event.mutable_trainer()->mutable_failure();
                             failure.set_code(8);
                             failure.set_phase("checkpoint");
                             failure.set_step(8);
                             failure.set_message("no space left");
                           })
                  .ok());
  ASSERT_TRUE(worker_
                  ->Report("x/2/0",
                           [](v1::WorkerEvent& event) {
                             event.mutable_exited()->set_code(1);
                             event.mutable_exited()->add_last_lines("cannot write it");
                           })
                  .ok());
  ASSERT_TRUE(worker_->ReportExit("x/2/1", 76).ok());
  WaitForState("x", v1::JOB_STATE_FAILED);
  const v1::JobExplanation explanation = Explain("x");
  const RootCause& cause = explanation.root_cause();
  EXPECT_EQ(cause.kind(), RootCause::OUT_OF_SPACE);
  EXPECT_EQ(cause.attempt(), 2);
  EXPECT_EQ(cause.rank(), 0);
  EXPECT_EQ(cause.worker(), "workers/a");
  EXPECT_EQ(cause.phase(), "checkpoint");
  EXPECT_EQ(cause.step(), 8);
  EXPECT_EQ(cause.exit_code(), 1);
  EXPECT_THAT(cause.last_lines(), ElementsAre("cannot write it"));
  EXPECT_FALSE(cause.advice().empty());
  EXPECT_THAT(explanation.summary(), HasSubstr("rank 0 on workers/a found the storage full"));
  ASSERT_EQ(explanation.earlier_size(), 1);
  EXPECT_EQ(explanation.earlier(0).kind(), RootCause::CRASHED);
  EXPECT_EQ(explanation.earlier(0).rank(), 1);
  EXPECT_EQ(explanation.earlier(0).step(), 5);
  EXPECT_EQ(explanation.job().state(), v1::JOB_STATE_FAILED);
}

TEST_F(SchedulingPath, ALostWorkerIsARootCause) {
  Submit("x", 2);
  Train("x");
  worker_->Hang();
  WaitForReason("x", v1::JOB_REASON_WAITING_FOR_WORKERS);
  const v1::JobExplanation explanation = Explain("x");
  EXPECT_EQ(explanation.root_cause().kind(), RootCause::WORKER_LOST);
  EXPECT_THAT(explanation.root_cause().error(), HasSubstr("no heartbeat for"));
  ASSERT_EQ(explanation.blockers_size(), 1);
  EXPECT_EQ(explanation.blockers(0).kind(), Blocker::WORKER_LOST);
}

TEST_F(SchedulingPath, AnUnknownJobCannotBeExplained) {
  v1::ExplainJobRequest request;
  v1::JobExplanation explanation;
  request.set_name("jobs/none");
  EXPECT_TRUE(
      absl::IsNotFound(Call(*jobs_, &v1::JobService::Stub::ExplainJob, request, explanation)));
  request.set_name("none");
  EXPECT_TRUE(absl::IsInvalidArgument(
      Call(*jobs_, &v1::JobService::Stub::ExplainJob, request, explanation)));
}

}  // namespace
}  // namespace wavefield::coordinator
