// The commands that change jobs and workers, run as programs against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "proto/rpc/status.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"
#include "tests/cli/hostile_text.h"
#include "tests/cli/sample_job.h"
#include "tests/cli/terminal_program.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class JobVerbsTest : public testing::Test {
 protected:
  CommandResult Run(std::vector<std::string> arguments, const std::string& input = "") {
    return RunWavefield(cluster_.address(), std::move(arguments), input);
  }
  // A handler that keeps each request; answers with the job that it names, in `state`.
  template <typename Request>
  auto Keep(std::vector<Request>& requests, v1::JobState state) {
    return [this, &requests, state](const Request& request, v1::Job& job) {
      const std::lock_guard lock(mutex_);
      requests.push_back(request);
      if (request.name() == "jobs/missing") {
        return grpc::Status(grpc::StatusCode::NOT_FOUND, "no job jobs/missing");
      }
      job = MakeJob(request.name().substr(5), state);
      return grpc::Status::OK;
    };
  }

  std::mutex mutex_;
  FakeCluster cluster_;
};

TEST_F(JobVerbsTest, PauseAndResumeTellOfEveryJobAndGoOnAfterAFailure) {
  std::vector<v1::PauseJobRequest> paused;
  std::vector<v1::ResumeJobRequest> resumed;
  cluster_.pause_job = Keep(paused, v1::JOB_STATE_PAUSED);
  cluster_.resume_job = Keep(resumed, v1::JOB_STATE_QUEUED);
  const CommandResult both = Run({"pause", "first", "missing", "jobs/second", "first"});
  EXPECT_EQ(both.exit_code, 3);
  EXPECT_EQ(both.out, "first PAUSED\nsecond PAUSED\n");
  EXPECT_THAT(both.err, HasSubstr("no job jobs/missing"));
  ASSERT_EQ(paused.size(), 3u) << "a job that is named twice is asked for once";
  EXPECT_EQ(paused[0].request_id().size(), 32u);
  EXPECT_NE(paused[0].request_id(), paused[2].request_id());

  const CommandResult one = Run({"resume", "first", "--json"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(json::parse(one.out)["state"], "JOB_STATE_QUEUED");
  const CommandResult two = Run({"resume", "first", "second", "--json"});
  EXPECT_EQ(json::parse(two.out)["jobs"].size(), 2u);
  EXPECT_EQ(Run({"pause", "No Job"}).exit_code, 2);
  EXPECT_EQ(Run({"pause"}).exit_code, 2);
}

TEST_F(JobVerbsTest, UpdateSendsWhatWasGivenAndNothingElse) {
  std::vector<v1::UpdateJobRequest> updates;
  cluster_.update_job = [&](const v1::UpdateJobRequest& request, v1::Job& job) {
    updates.push_back(request);
    job = MakeJob("first", v1::JOB_STATE_PAUSED);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"update", "first", "--priority", "-3", "--max-steps", "900",
                                    "--keep-best", "2", "--keep-every-hours", "0.5"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "first PAUSED\n");
  ASSERT_EQ(updates.size(), 1u);
  const v1::UpdateJobRequest& update = updates[0];
  EXPECT_EQ(update.job().name(), "jobs/first");
  EXPECT_THAT(update.update_mask().paths(),
              ElementsAre("spec.priority", "spec.training.max_steps",
                          "spec.checkpoint.keep_every_hours", "spec.checkpoint.keep_best"));
  EXPECT_EQ(update.job().spec().priority(), -3);
  EXPECT_EQ(update.job().spec().training().max_steps(), 900);
  EXPECT_EQ(update.job().spec().checkpoint().keep_best(), 2);
  EXPECT_EQ(update.etag(), "");
  EXPECT_FALSE(update.request_id().empty());
}

TEST_F(JobVerbsTest, UpdateEditsLabelsOfTheJobAsItIsNow) {
  std::atomic<int> version = 0;
  std::vector<v1::UpdateJobRequest> updates;
  cluster_.get_job = [&](const v1::GetJobRequest&, v1::Job& job) {
    job = MakeJob("first", v1::JOB_STATE_RUNNING);
    job.set_etag(std::to_string(++version));
    (*job.mutable_spec()->mutable_labels())["team"] = "nlp";
    (*job.mutable_spec()->mutable_labels())["old"] = "1";
    return grpc::Status::OK;
  };
  cluster_.update_job = [&](const v1::UpdateJobRequest& request, v1::Job& job) {
    updates.push_back(request);
    if (updates.size() == 1) return grpc::Status(grpc::StatusCode::ABORTED, "another etag");
    job = MakeJob("first", v1::JOB_STATE_RUNNING);
    return grpc::Status::OK;
  };
  const CommandResult result =
      Run({"update", "first", "--label", "run=a=b", "--label", "old-", "--label", "none-"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(updates.size(), 2u) << "a change in between is no reason to fail";
  EXPECT_EQ(updates[1].etag(), "2");
  EXPECT_NE(updates[0].request_id(), updates[1].request_id());
  const auto& labels = updates[1].job().spec().labels();
  EXPECT_EQ(labels.size(), 2u);
  EXPECT_EQ(labels.at("team"), "nlp");
  EXPECT_EQ(labels.at("run"), "a=b");
}

TEST_F(JobVerbsTest, UpdateRefusesBadInputBeforeItCalls) {
  const CommandResult nothing = Run({"update", "first"});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("nothing to change"));
  for (const char* label : {"=x", "-", "key", ""}) {
    const CommandResult result = Run({"update", "first", std::string("--label=") + label});
    EXPECT_EQ(result.exit_code, 2) << label;
    EXPECT_THAT(result.err, HasSubstr("--label")) << label;
  }
  EXPECT_EQ(Run({"update", "first", "--max-steps", "many"}).exit_code, 2);
}

TEST_F(JobVerbsTest, DeleteAsksForAYesAndDeletesAllOrNone) {
  std::vector<v1::DeleteJobRequest> requests;
  cluster_.delete_job = [&](const v1::DeleteJobRequest& request, v1::Job& job) {
    requests.push_back(request);
    if (request.name() == "jobs/lives") {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "jobs/lives is RUNNING");
    }
    job = MakeJob(request.name().substr(5), v1::JOB_STATE_SUCCEEDED);
    return grpc::Status::OK;
  };
  const auto deletions = [&] {
    return std::count_if(requests.begin(), requests.end(),
                         [](const auto& request) { return !request.validate_only(); });
  };
  const CommandResult unsure = Run({"delete", "first"});
  EXPECT_EQ(unsure.exit_code, 2);
  EXPECT_THAT(unsure.err, HasSubstr("--yes"));
  EXPECT_THAT(unsure.err, HasSubstr("first  SUCCEEDED"));
  EXPECT_EQ(unsure.out, "");
  const CommandResult looked = Run({"delete", "first", "--dry-run"});
  EXPECT_EQ(looked.exit_code, 0);
  EXPECT_THAT(looked.out, HasSubstr("first  SUCCEEDED"));
  const CommandResult one_lives = Run({"delete", "first", "lives", "--yes"});
  EXPECT_EQ(one_lives.exit_code, 1);
  EXPECT_THAT(one_lives.err, HasSubstr("jobs/lives is RUNNING"));
  EXPECT_THAT(one_lives.err, HasSubstr("Nothing was deleted"));
  EXPECT_EQ(deletions(), 0);
  const CommandResult deleted = Run({"delete", "first", "second", "-y"});
  EXPECT_EQ(deleted.exit_code, 0) << deleted.err;
  EXPECT_EQ(deleted.out, "first deleted\nsecond deleted\n");
  EXPECT_EQ(deletions(), 2);
}

TEST_F(JobVerbsTest, CancelByFilterShowsThemFirst) {
  std::vector<v1::CancelJobsRequest> requests;
  cluster_.cancel_jobs = [&](const v1::CancelJobsRequest& request, v1::CancelJobsResponse& all) {
    requests.push_back(request);
    if (request.filter() == "name=none") return grpc::Status::OK;
    for (const char* id : {"a", "b"}) {
      *all.add_jobs() =
          MakeJob(id, request.validate_only() ? v1::JOB_STATE_RUNNING : v1::JOB_STATE_STOPPING);
    }
    return grpc::Status::OK;
  };
  const CommandResult unsure = Run({"cancel", "--filter", "labels.array=s"});
  EXPECT_EQ(unsure.exit_code, 2);
  EXPECT_THAT(unsure.err, ContainsRegex("a +RUNNING"));
  EXPECT_THAT(unsure.err, HasSubstr("Cancel 2 jobs? There is no terminal to ask on"));
  EXPECT_THAT(Run({"cancel", "--filter", "labels.array=s", "--dry-run"}).out,
              ContainsRegex("b +RUNNING"));
  for (const auto& request : requests) EXPECT_TRUE(request.validate_only());
  const CommandResult done = Run({"cancel", "--filter", "labels.array=s", "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "a STOPPING\nb STOPPING\n");
  EXPECT_FALSE(requests.back().validate_only());
  EXPECT_EQ(requests.back().filter(), "labels.array=s");
  EXPECT_FALSE(requests.back().request_id().empty());
  const CommandResult none = Run({"cancel", "--filter", "name=none", "--json"});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_THAT(json::parse(none.out)["jobs"], IsEmpty());
  EXPECT_EQ(Run({"cancel"}).exit_code, 2);
  EXPECT_EQ(Run({"cancel", "a", "--filter", "x=1"}).exit_code, 2);
  EXPECT_EQ(Run({"cancel", "a", "--dry-run"}).exit_code, 2);
}

TEST_F(JobVerbsTest, OnATerminalNoJobIsCancelledThatWasNotShown) {
  std::vector<v1::CancelJobRequest> cancelled;
  cluster_.cancel_job = Keep(cancelled, v1::JOB_STATE_STOPPING);
  cluster_.cancel_jobs = [](const v1::CancelJobsRequest& request, v1::CancelJobsResponse& all) {
    EXPECT_TRUE(request.validate_only());
    *all.add_jobs() = MakeJob("shown", v1::JOB_STATE_RUNNING);
    return grpc::Status::OK;
  };
  TerminalProgram terminal(cluster_.address(), {"cancel", "--filter", "step>1", "--json"},
                           TerminalProgram::Streams::kAll, {"NO_COLOR=1"});
  terminal.WaitFor("Cancel 1 job? [y/N]");
  EXPECT_THAT(terminal.output(), ContainsRegex("shown +RUNNING"));
  terminal.Type("y\n");
  EXPECT_EQ(terminal.Finish(), 0);
  EXPECT_THAT(terminal.output(), HasSubstr("\"jobs\""));
  ASSERT_EQ(cancelled.size(), 1u);
  EXPECT_EQ(cancelled[0].name(), "jobs/shown");
}

TEST_F(JobVerbsTest, AGridBecomesAnArrayOfJobs) {
  std::vector<v1::BatchCreateJobsRequest> batches;
  cluster_.batch_create_jobs = [&](const v1::BatchCreateJobsRequest& request,
                                   v1::BatchCreateJobsResponse& response) {
    batches.push_back(request);
    for (const auto& create : request.requests()) {
      *response.add_jobs() = MakeJob(create.job_id(), v1::JOB_STATE_QUEUED);
    }
    return grpc::Status::OK;
  };
  const std::vector<std::string> command = {"submit",
                                            "--preset",
                                            "p",
                                            "--name",
                                            "sweep",
                                            "--grid",
                                            "training.max_steps=5,6",
                                            "--grid",
                                            "model.preset=x,y,z",
                                            "--set",
                                            "labels.team=nlp"};
  const CommandResult result = Run(command);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].requests_size(), 6);
  const v1::CreateJobRequest& fourth = batches[0].requests(4);
  EXPECT_EQ(fourth.job_id(), "sweep-4");
  EXPECT_EQ(fourth.spec().training().max_steps(), 6);
  EXPECT_EQ(fourth.spec().model().preset(), "y");
  EXPECT_EQ(fourth.spec().labels().at("array"), "sweep");
  EXPECT_EQ(fourth.spec().labels().at("team"), "nlp");
  EXPECT_EQ(fourth.request_id(), "");
  EXPECT_FALSE(batches[0].request_id().empty());
  EXPECT_THAT(result.out, ContainsRegex("JOB +training.max_steps +model.preset\n"));
  EXPECT_THAT(result.out, ContainsRegex("sweep-5 +6 +z\n"));
  EXPECT_THAT(result.err, HasSubstr("--filter labels.array=sweep"));

  std::vector<std::string> dry = command;
  dry.emplace_back("--dry-run");
  EXPECT_THAT(Run(dry).out, ContainsRegex("sweep-0 +5 +x\n"));
  EXPECT_TRUE(batches[1].validate_only());
  ASSERT_EQ(Run({"submit", "--preset", "p", "--grid", "training.max_steps=1,2"}).exit_code, 0);
  EXPECT_THAT(batches[2].requests(1).job_id(), ContainsRegex("^array-[0-9a-f]{8}-1$"));
}

TEST_F(JobVerbsTest, AGridThatCannotBeIsRefusedBeforeItCalls) {
  std::string many = "training.max_steps=0";
  for (int i = 1; i <= 1000; ++i) many += "," + std::to_string(i);
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--grid", many}, "more than 1000 jobs"},
      {{"--grid", "training.max_steps"}, "path.to.field=value,value"},
      {{"--grid", "training.max_steps=1,,2"}, "a value is empty"},
      {{"--grid", "training.max_steps=1,1"}, "the value 1 comes twice"},
      {{"--grid", "training.max_steps=1,x"}, "--grid training.max_steps=x: 'x' is not"},
      {{"--grid", "training.max_stepz=1"}, "max_steps"},
      {{"--grid", "priority=1,2", "--grid", "priority=3"}, "given twice"},
      {{"--grid", "priority=1,2", "--set", "labels.array=x"}, "labels.array"},
      {{"--grid", "priority=1,2", "--name", std::string(62, 'a')}, "shorter --name"},
      {{"--grid", "priority=1,2", "--request-id", "r"}, "--name"},
      {{"--grid", "priority=1,2", "--watch"}, "--watch"},
  };
  for (const auto& [flags, expected] : cases) {
    std::vector<std::string> command = {"submit", "--preset", "p"};
    command.insert(command.end(), flags.begin(), flags.end());
    const CommandResult result = Run(command);
    EXPECT_EQ(result.exit_code, 2) << expected;
    EXPECT_THAT(result.err, HasSubstr(expected));
  }
}

TEST_F(JobVerbsTest, SubmitTakesWeightsAndWaitsForOthers) {
  v1::CreateJobRequest created;
  cluster_.create_job = [&](const v1::CreateJobRequest& request, v1::Job& job) {
    created = request;
    job = MakeJob("made-up", v1::JOB_STATE_QUEUED);
    return grpc::Status::OK;
  };
  cluster_.get_checkpoint = [](const v1::GetCheckpointRequest& request,
                               v1::Checkpoint& checkpoint) {
    if (request.name() != "jobs/base/checkpoints/latest") {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no checkpoint " + request.name());
    }
    checkpoint.set_name("jobs/base/checkpoints/40-1");
    return grpc::Status::OK;
  };
  const CommandResult result = Run(
      {"submit", "--preset", "p", "--init-from", "base", "--after", "a", "--after", "jobs/b:end"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(created.spec().init_from(), "jobs/base/checkpoints/40-1")
      << "the newest as of now, whatever follows";
  ASSERT_EQ(created.spec().after_size(), 2);
  EXPECT_EQ(created.spec().after(0).job(), "jobs/a");
  EXPECT_FALSE(created.spec().after(0).has_on());
  EXPECT_EQ(created.spec().after(1).job(), "jobs/b");
  EXPECT_EQ(created.spec().after(1).on(), "end");
  EXPECT_EQ(Run({"submit", "--preset", "p", "--init-from", "base@7"}).exit_code, 3);
  const CommandResult unknown = Run({"submit", "--preset", "p", "--after", "a:failure"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("JOB:end"));
}

TEST_F(JobVerbsTest, WorkersAreCordonedAndDrained) {
  v1::CordonWorkerRequest cordoned;
  const auto answer = [](const std::string& name, int used, v1::Worker& worker) {
    worker.set_name(name);
    worker.set_state(v1::WORKER_STATE_READY);
    worker.set_slots(4);
    worker.set_used_slots(used);
  };
  cluster_.cordon_worker = [&](const v1::CordonWorkerRequest& request, v1::Worker& worker) {
    cordoned = request;
    answer(request.name(), 2, worker);
    worker.set_cordoned(true);
    worker.set_cordon_note(request.note());
    return grpc::Status::OK;
  };
  cluster_.uncordon_worker = [&](const v1::UncordonWorkerRequest& request, v1::Worker& worker) {
    answer(request.name(), 2, worker);
    return grpc::Status::OK;
  };
  std::atomic<int> looks = 0;
  cluster_.drain_worker = [&](const v1::DrainWorkerRequest& request, v1::Worker& worker) {
    answer(request.name(), 2, worker);
    worker.set_draining(true);
    return grpc::Status::OK;
  };
  cluster_.list_workers = [&](const v1::ListWorkersRequest&, v1::ListWorkersResponse& response) {
    answer("workers/other", 4, *response.add_workers());
    answer("workers/host", ++looks < 2 ? 1 : 0, *response.add_workers());
    response.mutable_workers(1)->set_draining(true);
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"workers", "cordon", "host", "--note", "new disk"}).out,
            "host READY, cordoned: new disk; 2 of 4 slots used\n");
  EXPECT_EQ(cordoned.name(), "workers/host");
  EXPECT_FALSE(cordoned.request_id().empty());
  EXPECT_EQ(Run({"workers", "uncordon", "host"}).out, "host READY; 2 of 4 slots used\n");
  EXPECT_EQ(looks, 0);
  const CommandResult drained = Run({"workers", "drain", "host", "--wait"});
  EXPECT_EQ(drained.out, "host READY, draining; 0 of 4 slots used\n");
  EXPECT_EQ(looks, 2);
  const CommandResult list = Run({"workers"});
  EXPECT_THAT(list.out, ContainsRegex("host +READY, draining"));
  EXPECT_EQ(Run({"workers", "--output", "names"}).out, "other\nhost\n");
  EXPECT_EQ(Run({"workers", "drain", "../host"}).exit_code, 2);
  EXPECT_EQ(Run({"workers", "drian", "host"}).exit_code, 2);
}

TEST_F(JobVerbsTest, WhatAServerSaysOfAnErrorIsNotObeyedByTheTerminal) {
  cluster_.pause_job = [](const v1::PauseJobRequest&, v1::Job&) {
    absl::Status status = absl::FailedPreconditionError(kHostileText);
    google::rpc::BadRequest details;
    details.add_field_violations()->set_field(kHostileText);
    AttachDetail(status, details);
    return ToGrpcStatus(status);
  };
  const CommandResult result = Run({"pause", "first"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("red"));
  EXPECT_FALSE(HasControlCharacters(result.err)) << result.err;
}

}  // namespace
}  // namespace wavefield
