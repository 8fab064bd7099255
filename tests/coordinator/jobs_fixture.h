#pragma once

#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {

// A coordinator with a worker of two slots, and the verbs on jobs.
class JobsFixture : public ServerFixture {
 protected:
  void ConnectWorker() {
    worker_ = std::make_unique<FakeWorker>("a", "a1", 2, ReadFile(StorageRoot() / "probe").value());
    ASSERT_TRUE(worker_->Connect(channel_).ok());
  }
  void TearDown() override { worker_.reset(); }

  void Create(const std::string& id, const std::map<std::string, std::string>& labels = {}) {
    v1::CreateJobRequest request = ValidRequest(id);
    request.mutable_spec()->mutable_labels()->insert(labels.begin(), labels.end());
    const auto job = CreateJob(request);
    ASSERT_TRUE(job.ok()) << job.status();
  }

  // Its one rank trains, in the epoch the job is in.
  std::string Train(const std::string& id) {
    const v1::Job job =
        WaitForJob(id, [](const v1::Job& j) { return j.state() == v1::JOB_STATE_STARTING; });
    const std::string task = id + "/" + std::to_string(job.epoch()) + "/0";
    worker_->WaitForAssignments(1);
    EXPECT_TRUE(worker_->ReportStarted(task).ok());
    EXPECT_TRUE(worker_->ReportTraining(task).ok());
    return task;
  }
  absl::Status Checkpoint(const std::string& task, int64_t step) {
    const std::string job = task.substr(0, task.find('/'));
    const std::string epoch = task.substr(job.size() + 1, task.rfind('/') - job.size() - 1);
    return worker_->ReportCheckpoint(
        task, StorageRoot().string(),
        "checkpoints/" + job + "/" + std::to_string(step) + "-" + epoch, step);
  }
  void End(const std::string& task, bool stopped) {
    EXPECT_TRUE(worker_->ReportFinished(task, stopped).ok());
    EXPECT_TRUE(worker_->ReportExit(task, 0).ok());
  }
  // A job that did ten steps, with a checkpoint of the last.
  void Succeed(const std::string& id) {
    Create(id);
    const std::string task = Train(id);
    ASSERT_TRUE(worker_->ReportStep(task, 10).ok());
    ASSERT_TRUE(Checkpoint(task, 10).ok());
    End(task, false);
    WaitForState(id, v1::JOB_STATE_SUCCEEDED);
  }

  template <typename Request>
  absl::StatusOr<v1::Job> Verb(grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*,
                                                                            const Request&,
                                                                            v1::Job*),
                               const std::string& id, const std::string& request_id = "") {
    Request request;
    request.set_name("jobs/" + id);
    request.set_request_id(request_id);
    return Answer(method, request);
  }
  template <typename Request, typename Response>
  absl::StatusOr<Response> Answer(grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*,
                                                                               const Request&,
                                                                               Response*),
                                  const Request& request) {
    Response response;
    const absl::Status status = Call(*jobs_, method, request, response);
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::Job> Pause(const std::string& id) {
    return Verb(&v1::JobService::Stub::PauseJob, id);
  }
  absl::StatusOr<v1::Job> Resume(const std::string& id) {
    return Verb(&v1::JobService::Stub::ResumeJob, id);
  }
  absl::StatusOr<v1::Job> Cancel(const std::string& id) {
    return Verb(&v1::JobService::Stub::CancelJob, id);
  }
  absl::StatusOr<v1::Job> Delete(const std::string& id) {
    return Verb(&v1::JobService::Stub::DeleteJob, id);
  }
  // Bare ids, in order.
  std::vector<std::string> List(const std::string& filter, const std::string& order_by = "") {
    v1::ListJobsRequest request;
    request.set_filter(filter);
    request.set_order_by(order_by);
    const auto response = Answer(&v1::JobService::Stub::ListJobs, request);
    EXPECT_TRUE(response.ok()) << response.status();
    std::vector<std::string> ids;
    if (!response.ok()) return ids;
    for (const v1::Job& job : response->jobs()) ids.push_back(job.name().substr(5));
    return ids;
  }

  std::unique_ptr<FakeWorker> worker_;
};

}  // namespace wavefield::coordinator
