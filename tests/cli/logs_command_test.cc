#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LogsCommandTest : public ::testing::Test {
 protected:
  LogsCommandTest() {
    cluster_.get_job = [this](const v1::GetJobRequest& request, v1::Job& job) {
      job.set_name(request.name());
      job.mutable_spec()->mutable_resources()->set_world_size(ranks_);
      job.set_attempt(attempts_);
      return grpc::Status::OK;
    };
    cluster_.read_logs = [this](const v1::ReadLogsRequest& request,
                                grpc::ServerWriter<v1::ReadLogsResponse>& writer) {
      request_ = request;
      return answer_(writer);
    };
  }

  static void Add(v1::ReadLogsResponse& message, int attempt, int rank, const std::string& text) {
    v1::LogLine& line = *message.add_lines();
    line.set_attempt(attempt);
    line.set_rank(rank);
    line.set_text(text);
  }

  CommandResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "logs");
    return RunWavefield(cluster_.address(), std::move(arguments));
  }

  std::atomic<int> ranks_ = 1;
  std::atomic<int> attempts_ = 2;
  v1::ReadLogsRequest request_;
  std::function<grpc::Status(grpc::ServerWriter<v1::ReadLogsResponse>&)> answer_ = [](auto&) {
    return grpc::Status::OK;
  };
  FakeCluster cluster_;
};

TEST_F(LogsCommandTest, AsksForWhatWasChosen) {
  EXPECT_EQ(Run({"a", "-f", "--rank", "0", "--attempt", "2", "--tail", "7", "--since",
                 "2026-01-31T12:00:00.5Z"})
                .exit_code,
            0);
  EXPECT_EQ(request_.name(), "jobs/a");
  EXPECT_TRUE(request_.follow());
  EXPECT_TRUE(request_.has_rank());
  EXPECT_EQ(request_.attempt(), 2);
  EXPECT_EQ(request_.tail(), 7);
  EXPECT_EQ(request_.since().seconds(), 1769860800);
  EXPECT_EQ(request_.since().nanos(), 500'000'000);
  EXPECT_EQ(Run({"jobs/a"}).exit_code, 0);
  EXPECT_FALSE(request_.has_rank());
  EXPECT_FALSE(request_.has_since());
  EXPECT_FALSE(request_.follow());
}

TEST_F(LogsCommandTest, ATimeAgoIsCountedFromNow) {
  const std::vector<std::pair<std::string, absl::Duration>> cases = {
      {"90s", absl::Seconds(90)}, {"2h30m", absl::Minutes(150)}, {"3d", absl::Hours(72)}};
  for (const auto& [text, ago] : cases) {
    const int64_t before = absl::ToUnixSeconds(absl::Now() - ago);
    EXPECT_EQ(Run({"a", "--since", text}).exit_code, 0) << text;
    EXPECT_GE(request_.since().seconds(), before) << text;
    EXPECT_LE(request_.since().seconds(), absl::ToUnixSeconds(absl::Now() - ago)) << text;
  }
  for (const char* text :
       {"soon", "-1h", "inf", "d", "1969-01-01", "99999999d", "infinite-future"}) {
    const CommandResult result = Run({"a", std::string("--since=") + text});
    EXPECT_EQ(result.exit_code, 2) << text;
    EXPECT_THAT(result.err, HasSubstr("2h30m")) << text;
  }
}

TEST_F(LogsCommandTest, NamesRanksWhereThereAreSeveral) {
  answer_ = [](auto& writer) {
    v1::ReadLogsResponse message;
    Add(message, 1, 0, "one");
    Add(message, 1, 1, "two");
    Add(message, 2, 0, "three");
    writer.Write(message);
    message.Clear();
    message.set_skipped_lines(7);
    Add(message, 2, 0, "eleven");
    writer.Write(message);
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"a"}).out, "one\ntwo\nthree\neleven\n");
  ranks_ = 2;
  const CommandResult several = Run({"a"});
  EXPECT_EQ(several.out, "rank 0 | one\nrank 1 | two\nrank 0 | three\nrank 0 | eleven\n");
  EXPECT_THAT(several.err, HasSubstr("attempt 2"));
  EXPECT_THAT(several.err, HasSubstr("7 lines are missing here"));
  EXPECT_EQ(Run({"a", "--rank", "1"}).out, "one\ntwo\nthree\neleven\n");
}

TEST_F(LogsCommandTest, WhatTheJobDoesNotHaveIsRefused) {
  const auto refusal = [&](std::vector<std::string> arguments) {
    const CommandResult result = Run(std::move(arguments));
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_THAT(refusal({"a", "--rank", "1"}), HasSubstr("jobs/a has only rank 0"));
  ranks_ = 2;
  EXPECT_THAT(refusal({"a", "--rank", "9"}), HasSubstr("jobs/a has ranks 0 to 1"));
  EXPECT_THAT(refusal({"a", "-f", "--rank", "2"}), HasSubstr("jobs/a has ranks 0 to 1"));
  EXPECT_THAT(refusal({"a", "--attempt", "7"}), HasSubstr("jobs/a has attempts 1 to 2"));
  attempts_ = 0;
  EXPECT_THAT(refusal({"a", "--attempt", "1"}), HasSubstr("jobs/a has no attempt yet"));
  EXPECT_EQ(Run({"a", "-f", "--attempt", "1"}).exit_code, 0) << "it may come";
}

TEST_F(LogsCommandTest, NumbersThatAreNoneSayWhatIsAllowed) {
  for (const char* flag : {"--tail", "--attempt"}) {
    const CommandResult result = Run({"a", flag, "0"});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("1073741824")) << flag;
  }
}

TEST_F(LogsCommandTest, TerminalsAreSafeFromWhatRanksPrint) {
  const std::string text = "\x1b[2J\x1b]0;title\x07 \r over \xC2\x9B 31m";
  answer_ = [&](auto& writer) {
    v1::ReadLogsResponse message;
    Add(message, 1, 0, text);
    writer.Write(message);
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"a"}).out, "\\x1b[2J\\x1b]0;title\\x07 \\r over \\u009b 31m\n");
  const CommandResult json = Run({"a", "--json"});
  EXPECT_THAT(json.out, Not(HasSubstr("\x1b")));
  EXPECT_EQ(nlohmann::json::parse(json.out).at("lines").at(0).at("text"), text);
}

TEST_F(LogsCommandTest, FollowingGoesOnBehindTheLastCursor) {
  std::atomic<int> calls = 0;
  answer_ = [&](auto& writer) {
    if (calls++ == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "still starting");
    v1::ReadLogsResponse message;
    Add(message, 1, 0, calls == 1 ? "one" : "two after " + request_.cursor());
    message.set_cursor("here");
    writer.Write(message);
    return calls == 1 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "shutting down")
                      : grpc::Status::OK;
  };
  const CommandResult result = Run({"a", "-f", "--tail", "1"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "one\ntwo after here\n");
  EXPECT_EQ(request_.tail(), 0) << "what is behind the cursor is wanted whole";
  EXPECT_THAT(result.err, HasSubstr("trying again"));
}

}  // namespace
}  // namespace wavefield
