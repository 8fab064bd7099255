// Watches of many jobs.
#include <set>

#include "tests/coordinator/jobs_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class JobsWatch : public JobsFixture {
 protected:
  // What a client makes of a watch.
  struct View {
    int64_t revision = 0;
    int resets = 0;
    std::map<std::string, v1::Job> jobs;
    std::vector<std::string> removed;

    void Take(const v1::WatchJobsResponse& response) {
      EXPECT_GE(response.revision(), revision);
      revision = response.revision();
      if (response.reset()) {
        ++resets;
        jobs.clear();
      }
      for (const v1::Job& job : response.jobs()) jobs[job.name()] = job;
      for (const std::string& name : response.removed()) {
        removed.push_back(name);
        jobs.erase(name);
      }
    }
    std::set<std::string> names() const {
      std::set<std::string> names;
      for (const auto& [name, job] : jobs) names.insert(name);
      return names;
    }
  };

  // Watches on from where the view is until `reached`, at most ten seconds.
  void Watch(const std::string& filter, View& view, const std::function<bool(const View&)>& reached,
             const std::function<void()>& after_first = {}) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::WatchJobsRequest request;
    request.set_filter(filter);
    request.set_from_revision(view.revision);
    const auto stream = jobs_->WatchJobs(&context, request);
    v1::WatchJobsResponse response;
    bool open = true;
    for (int messages = 0; open && !reached(view); ++messages) {
      open = stream->Read(&response);
      if (open) view.Take(response);
      if (messages == 0 && after_first) after_first();
    }
    context.TryCancel();
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(open) << status.error_message();
  }
};

TEST_F(JobsWatch, BeginsWithASnapshotAndTellsEveryChange) {
  Create("a", {{"team", "x"}});
  Create("b", {{"team", "y"}});
  View view;
  Watch(
      "labels.team=x", view, [](const View& v) { return v.names().contains("jobs/c"); },
      [&] {
        Create("c", {{"team", "x"}});
        Create("d", {{"team", "y"}});
      });
  EXPECT_EQ(view.resets, 1);
  EXPECT_THAT(view.names(), UnorderedElementsAre("jobs/a", "jobs/c"));
  EXPECT_THAT(view.removed, IsEmpty()) << "those that never matched are not spoken of";
  ASSERT_TRUE(Cancel("a").ok());
  Watch("labels.team=x", view,
        [](const View& v) { return v.jobs.at("jobs/a").state() == v1::JOB_STATE_CANCELLED; });
}

TEST_F(JobsWatch, ResumesOverARestartOfTheCoordinator) {
  Create("a");
  Create("b");
  View view;
  Watch("", view, [](const View& v) { return v.jobs.size() == 2; });
  ASSERT_TRUE(Cancel("a").ok());
  Create("c");
  ASSERT_TRUE(Cancel("b").ok());
  ASSERT_TRUE(Delete("b").ok());
  Restart();
  Watch("", view, [](const View& v) { return v.jobs.contains("jobs/c") && !v.removed.empty(); });
  EXPECT_EQ(view.resets, 1) << "the first one";
  EXPECT_EQ(view.jobs.at("jobs/a").state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(view.names(), UnorderedElementsAre("jobs/a", "jobs/c"));
  EXPECT_THAT(view.removed, ElementsAre("jobs/b"));
}

TEST_F(JobsWatch, WhatMatchesNoLongerIsRemoved) {
  Create("a");
  View view;
  Watch(
      "state=QUEUED", view, [](const View& v) { return v.jobs.empty() && v.resets > 0; },
      [&] { ASSERT_TRUE(Pause("a").ok()); });
  EXPECT_THAT(view.removed, ElementsAre("jobs/a"));
  ASSERT_TRUE(Resume("a").ok());
  Watch("state=QUEUED", view, [](const View& v) { return v.jobs.size() == 1; });
}

TEST_F(JobsWatch, AJobThatWasDeletedAndCreatedAgainIsTheNewOne) {
  Create("a");
  View view;
  Watch("", view, [](const View& v) { return v.jobs.size() == 1; });
  const std::string uid = view.jobs.at("jobs/a").uid();
  ASSERT_TRUE(Cancel("a").ok());
  ASSERT_TRUE(Delete("a").ok());
  Create("a");
  Watch("", view, [&](const View& v) {
    return v.jobs.contains("jobs/a") && v.jobs.at("jobs/a").uid() != uid;
  });
}

TEST_F(JobsWatch, AnUnknownRevisionGetsASnapshot) {
  Create("a");
  View view;
  Watch("", view, [](const View& v) { return v.jobs.size() == 1; });
  grpc::ClientContext context;
  v1::WatchJobsRequest request;
  request.set_from_revision(view.revision + 1'000'000);
  const auto stream = jobs_->WatchJobs(&context, request);
  v1::WatchJobsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.reset());
  EXPECT_EQ(response.jobs_size(), 1);
  context.TryCancel();
  stream->Finish();
}

TEST_F(JobsWatch, ALargeSnapshotComesInPartsThatCanBeResumed) {
  v1::BatchCreateJobsRequest request;
  for (int i = 0; i < 350; ++i) *request.add_requests() = ValidRequest("j" + std::to_string(i));
  ASSERT_TRUE(Answer(&v1::JobService::Stub::BatchCreateJobs, request).ok());
  View view;
  Watch("", view, [](const View& v) { return !v.jobs.empty(); });
  EXPECT_LT(view.jobs.size(), 350u);
  Watch("", view, [](const View& v) { return v.jobs.size() == 350; });
  EXPECT_EQ(view.resets, 1);
}

TEST_F(JobsWatch, BadRequestsAreRefused) {
  for (const auto& [filter, revision] :
       {std::pair<std::string, int64_t>{"colour=blue", 0}, {"", -1}}) {
    grpc::ClientContext context;
    v1::WatchJobsRequest request;
    request.set_filter(filter);
    request.set_from_revision(revision);
    v1::WatchJobsResponse response;
    const auto stream = jobs_->WatchJobs(&context, request);
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

}  // namespace
}  // namespace wavefield::coordinator
