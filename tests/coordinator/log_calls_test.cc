// ReportLogs and ReadLogs on a coordinator in this process.
#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LogCallsTest : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    worker_ = std::make_unique<FakeWorker>("w1", "i1", 2, *ReadFile(StorageRoot() / "probe"));
    ASSERT_TRUE(worker_->Connect(channel_).ok());
  }

  // Creates it, and waits until its one rank is assigned; returns the task's id.
  std::string StartJob(const std::string& id) {
    EXPECT_TRUE(CreateJob(ValidRequest(id)).ok());
    const std::string task = worker_->WaitForAssignments(1).assignments(0).task_id();
    EXPECT_TRUE(worker_->ReportStarted(task).ok());
    EXPECT_TRUE(worker_->ReportTraining(task).ok());
    return task;
  }
  void FinishJob(const std::string& id, const std::string& task) {
    EXPECT_TRUE(worker_->ReportFinished(task, false).ok());
    EXPECT_TRUE(worker_->ReportExit(task, 0).ok());
    WaitForState(id, v1::JOB_STATE_SUCCEEDED);
  }

  static v1::ReportLogsRequest Lines(const std::string& task, int64_t first, int count,
                                     bool complete = false) {
    v1::ReportLogsRequest request;
    request.set_name("workers/w1");
    request.set_incarnation("i1");
    auto& chunk = *request.add_chunks();
    chunk.set_task_id(task);
    chunk.set_first_line(first);
    chunk.set_complete(complete);
    for (int i = 0; i < count; ++i) {
      chunk.add_lines()->set_text(absl::StrCat("line ", first + i));
    }
    return request;
  }
  absl::Status Report(const v1::ReportLogsRequest& request) {
    v1::ReportLogsResponse response;
    return Call(*workers_, &v1::WorkerService::Stub::ReportLogs, request, response);
  }

  static v1::ReadLogsRequest Request(const std::string& job, bool follow = false) {
    v1::ReadLogsRequest request;
    request.set_name("jobs/" + job);
    request.set_follow(follow);
    return request;
  }
  // Texts of all that came, and the last cursor in `request`.
  std::vector<std::string> Read(v1::ReadLogsRequest& request, absl::Status* status = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto stream = jobs_->ReadLogs(&context, request);
    std::vector<std::string> texts;
    v1::ReadLogsResponse message;
    while (stream->Read(&message)) {
      EXPECT_LE(message.ByteSizeLong(), 1u << 20);
      for (const v1::LogLine& line : message.lines()) texts.push_back(line.text());
      request.set_cursor(message.cursor());
    }
    const absl::Status ended = FromGrpcStatus(stream->Finish());
    if (status != nullptr) {
      *status = ended;
    } else {
      EXPECT_TRUE(ended.ok()) << ended;
    }
    return texts;
  }
  std::vector<std::string> Read(const std::string& job) {
    v1::ReadLogsRequest request = Request(job);
    return Read(request);
  }

  std::unique_ptr<FakeWorker> worker_;
};

TEST_F(LogCallsTest, LinesOfARankAreReadWithAllThatIsKnownOfThem) {
  const std::string task = StartJob("a");
  EXPECT_THAT(Read("a"), IsEmpty());
  v1::ReportLogsRequest request = Lines(task, 0, 2);
  request.mutable_chunks(0)->mutable_lines(1)->mutable_time()->set_seconds(1'700'000'000);
  request.mutable_chunks(0)->mutable_lines(1)->mutable_time()->set_nanos(5);
  ASSERT_TRUE(Report(request).ok());
  grpc::ClientContext context;
  const auto stream = jobs_->ReadLogs(&context, Request("a"));
  v1::ReadLogsResponse message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_EQ(message.lines_size(), 2);
  const v1::LogLine& line = message.lines(1);
  EXPECT_EQ(line.text(), "line 1");
  EXPECT_EQ(line.worker(), "workers/w1");
  EXPECT_EQ(line.attempt(), 1);
  EXPECT_EQ(line.rank(), 0);
  EXPECT_EQ(line.time().seconds(), 1'700'000'000);
  EXPECT_EQ(line.time().nanos(), 5);
  EXPECT_FALSE(stream->Read(&message));
}

TEST_F(LogCallsTest, AFollowerGetsLinesAsTheyComeAndEndsAfterTheLast) {
  const std::string task = StartJob("a");
  v1::ReadLogsRequest follow = Request("a", true);
  auto texts = std::async(std::launch::async, [&] { return Read(follow); });
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Report(Lines(task, i, 1)).ok());
  FinishJob("a", task);
  // The job has ended; its last lines come now.
  EXPECT_EQ(texts.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  ASSERT_TRUE(Report(Lines(task, 5, 1, /*complete=*/true)).ok());
  EXPECT_THAT(texts.get(), ElementsAre("line 0", "line 1", "line 2", "line 3", "line 4", "line 5"));
  EXPECT_EQ(Read("a").size(), 6u) << "they are kept";
}

TEST_F(LogCallsTest, ACursorGoesOnAfterARestart) {
  const std::string task = StartJob("a");
  ASSERT_TRUE(Report(Lines(task, 0, 3)).ok());
  v1::ReadLogsRequest request = Request("a");
  EXPECT_EQ(Read(request).size(), 3u);
  Restart();
  ASSERT_TRUE(worker_->Connect(channel_, {task}).ok());
  ASSERT_TRUE(Report(Lines(task, 2, 3)).ok());
  EXPECT_THAT(Read(request), ElementsAre("line 3", "line 4"));
  EXPECT_THAT(Read(request), IsEmpty());
  request.set_tail(1);
  request.clear_cursor();
  EXPECT_THAT(Read(request), ElementsAre("line 4"));
}

TEST_F(LogCallsTest, TheLogsOfAJobGoWithIt) {
  const std::string task = StartJob("a");
  ASSERT_TRUE(Report(Lines(task, 0, 3)).ok());
  FinishJob("a", task);
  const std::filesystem::path folder = std::filesystem::path(DataDir()) / "logs" / "a";
  EXPECT_TRUE(std::filesystem::exists(folder));
  v1::DeleteJobRequest request;
  request.set_name("jobs/a");
  v1::Job job;
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::DeleteJob, request, job).ok());
  EXPECT_FALSE(std::filesystem::exists(folder));
  ASSERT_TRUE(Report(Lines(task, 3, 1, true)).ok()) << "late lines are dropped";
  EXPECT_FALSE(std::filesystem::exists(folder));
  v1::ReadLogsRequest read = Request("a", true);
  absl::Status status;
  Read(read, &status);
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
}

TEST_F(LogCallsTest, ALongLogComesInBoundedMessages) {
  const std::string task = StartJob("a");
  for (int i = 0; i < 20; ++i) {
    v1::ReportLogsRequest request = Lines(task, i * 200, 200);
    for (auto& line : *request.mutable_chunks(0)->mutable_lines()) {
      line.mutable_text()->append(4000, 'x');
    }
    ASSERT_TRUE(Report(request).ok());
  }
  EXPECT_EQ(Read("a").size(), 4000u);
}

TEST_F(LogCallsTest, ATaskWhoseLinesTheDiskRefusesDoesNotHinderOthers) {
  const std::string broken = StartJob("a");
  ASSERT_TRUE(CreateJob(ValidRequest("b")).ok());
  std::string sound;
  const v1::AssignmentList list = worker_->WaitForAssignments(2);
  for (const auto& assignment : list.assignments()) {
    if (assignment.task_id() != broken) sound = assignment.task_id();
  }
  // Files where there should be folders.
  const std::filesystem::path folder = std::filesystem::path(DataDir()) / "logs" / "a";
  for (const auto& rank : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path path = rank.path();
    std::filesystem::remove_all(path);
    ASSERT_TRUE(WriteFileAtomically(path, "").ok());
    break;
  }
  v1::ReportLogsRequest request = Lines(broken, 0, 2);
  *request.add_chunks() = Lines(sound, 0, 3).chunks(0);
  *request.add_chunks() = Lines(broken, 5, 1).chunks(0);
  v1::ReportLogsResponse response;
  ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ReportLogs, request, response).ok());
  EXPECT_EQ(response.next_line().count(broken), 0u);
  EXPECT_EQ(response.next_line().at(sound), 3);
  EXPECT_THAT(Read("b"), ElementsAre("line 0", "line 1", "line 2"));

  std::filesystem::remove_all(folder);
  ASSERT_TRUE(Call(*workers_, &v1::WorkerService::Stub::ReportLogs, request, response).ok());
  EXPECT_EQ(response.next_line().at(broken), 6);
}

TEST_F(LogCallsTest, WhatCannotBeMeantIsRefusedWithTheField) {
  const std::string task = StartJob("a");
  absl::Status status;
  const auto refused = [&](const std::function<void(v1::ReadLogsRequest&)>& change) {
    v1::ReadLogsRequest request = Request("a");
    change(request);
    Read(request, &status);
    return std::string(status.message());
  };
  EXPECT_THAT(refused([](auto& r) { r.set_name("jobs/none"); }), HasSubstr("no job 'none'"));
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(refused([](auto& r) { r.set_name("../a"); }), HasSubstr("name"));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(refused([](auto& r) { r.set_rank(-1); }), HasSubstr("rank: is -1"));
  EXPECT_THAT(refused([](auto& r) { r.set_attempt(-1); }), HasSubstr("attempt: is -1"));
  EXPECT_THAT(refused([](auto& r) { r.set_tail(-1); }), HasSubstr("tail: is -1"));
  EXPECT_THAT(refused([](auto& r) { r.set_cursor("x"); }), HasSubstr("cursor: 'x'"));
  EXPECT_TRUE(absl::IsInvalidArgument(status));

  v1::ReportLogsRequest report = Lines(task, -1, 1);
  EXPECT_THAT(std::string(Report(report).message()), HasSubstr("first_line"));
  report = Lines(task, INT64_MAX, 1);
  EXPECT_THAT(std::string(Report(report).message()), HasSubstr("first_line"));
  report = Lines(task, 0, 1);
  report.mutable_chunks(0)->mutable_lines(0)->set_text(std::string(2 << 20, 'x'));
  EXPECT_THAT(std::string(Report(report).message()), HasSubstr("at most 1048576 are allowed"));
  report = Lines(task, 0, 1);
  for (int i = 0; i < 1000; ++i) report.add_chunks();
  EXPECT_THAT(std::string(Report(report).message()), HasSubstr("at most 1000 are allowed"));
  report = Lines(task, 0, 1);
  report.set_incarnation("i2");
  EXPECT_TRUE(absl::IsNotFound(Report(report)));
  EXPECT_THAT(Read("a"), IsEmpty());
}

}  // namespace
}  // namespace wavefield::coordinator
