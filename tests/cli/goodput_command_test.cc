// `wavefield goodput` against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Jobs a, b …, listed in pages of two.
class GoodputCommandTest : public testing::Test {
 protected:
  GoodputCommandTest() {
    cluster_.get_job = [this](const v1::GetJobRequest& request, v1::Job& job) {
      const auto found = jobs_.find(request.name());
      if (found == jobs_.end()) {
        return grpc::Status(grpc::StatusCode::NOT_FOUND,
                            "there is no job '" + request.name() + "'");
      }
      job = found->second;
      return grpc::Status::OK;
    };
    cluster_.list_jobs = [this](const v1::ListJobsRequest& request,
                                v1::ListJobsResponse& response) {
      auto job = request.page_token().empty() ? jobs_.begin() : jobs_.find(request.page_token());
      for (; job != jobs_.end() && response.jobs_size() < 2; ++job) {
        *response.add_jobs() = job->second;
      }
      if (job != jobs_.end()) response.set_next_page_token(job->first);
      return grpc::Status::OK;
    };
  }

  // In slot-milliseconds.
  void AddJob(const std::string& id, int64_t useful, int64_t startup, int64_t hang) {
    v1::Job& job = jobs_["jobs/" + id];
    job.set_name("jobs/" + id);
    job.set_state(v1::JOB_STATE_RUNNING);
    v1::Goodput& goodput = *job.mutable_goodput();
    goodput.set_useful_steps(useful);
    goodput.set_startup(startup);
    goodput.set_hang(hang);
    goodput.set_total(useful + startup + hang);
  }

  CommandResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "goodput");
    return RunWavefield(cluster_.address(), std::move(arguments));
  }

  std::map<std::string, v1::Job> jobs_;
  FakeCluster cluster_;
};

TEST_F(GoodputCommandTest, ShowsEveryBucketWithItsShareUsefulStepsFirst) {
  AddJob("a", 7'500, 1'234, 1'266);
  const CommandResult result = Run({"a"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "a: goodput 75.00 %\n"
            "BUCKET            SLOT-SECONDS     SHARE\n"
            "useful steps             7.500   75.00 %\n"
            "startup                  1.234   12.34 %\n"
            "redone steps             0.000    0.00 %\n"
            "data wait                0.000    0.00 %\n"
            "communication            0.000    0.00 %\n"
            "checkpoint stall         0.000    0.00 %\n"
            "evaluation               0.000    0.00 %\n"
            "recovery                 0.000    0.00 %\n"
            "hang                     1.266   12.66 %\n"
            "idle                     0.000    0.00 %\n"
            "total                   10.000  100.00 %\n");
}

TEST_F(GoodputCommandTest, SeveralJobsFollowOneAnotherAndLargeAmountsAreInHours) {
  AddJob("a", 36'000'000, 0, 9'000'000);
  AddJob("b", 1'000, 1'000, 0);
  const CommandResult result = Run({"jobs/b", "a"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.find("b: goodput 50.00 %\n"), 0u) << result.out;
  EXPECT_THAT(result.out, HasSubstr("\n\na: goodput 80.00 %\n"));
  EXPECT_THAT(result.out, HasSubstr("SLOT-HOURS"));
  EXPECT_THAT(result.out, HasSubstr("12.50  100.00 %"));
}

TEST_F(GoodputCommandTest, AllSumsEveryPageAndShowsWhoLostMost) {
  AddJob("a", 8'000, 2'000, 0);
  AddJob("b", 0, 0, 0);
  AddJob("c", 1'000, 1'000, 8'000);
  AddJob("d", 20'000, 0, 0);
  const CommandResult result = Run({"--all"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.find("3 of 4 jobs, the others held no slot yet: goodput 72.50 %\n"), 0u)
      << result.out;
  EXPECT_THAT(result.out, HasSubstr("total                   40.000  100.00 %\n"));
  const size_t losses = result.out.find("JOB");
  ASSERT_NE(losses, std::string::npos) << result.out;
  EXPECT_EQ(result.out.substr(losses),
            "JOB  STATE    LOST SLOT-SECONDS    HELD   GOODPUT  MOSTLY TO\n"
            "c    RUNNING              9.000  10.000   10.00 %  hang 80.00 %\n"
            "a    RUNNING              2.000  10.000   80.00 %  startup 20.00 %\n"
            "d    RUNNING              0.000  20.000  100.00 %  -\n");
}

TEST_F(GoodputCommandTest, JsonHasTheAccountsInMilliseconds) {
  AddJob("a", 7'500, 2'500, 0);
  AddJob("b", 0, 0, 0);
  const CommandResult result = Run({"--all", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const json answer = json::parse(result.out, nullptr, false);
  ASSERT_TRUE(answer.is_object()) << result.out;
  ASSERT_EQ(answer.at("jobs").size(), 2u);
  EXPECT_EQ(answer["jobs"][0]["name"], "jobs/a");
  EXPECT_EQ(answer["jobs"][0]["state"], "JOB_STATE_RUNNING");
  EXPECT_EQ(answer["jobs"][0]["goodput_ratio"], 0.75);
  EXPECT_EQ(answer["jobs"][0]["goodput"]["useful_steps"], "7500");
  EXPECT_EQ(answer["jobs"][1]["goodput_ratio"], "NaN");
  EXPECT_EQ(answer["sum"]["goodput"]["total"], "10000");
}

TEST_F(GoodputCommandTest, AJobThatHeldNothingSaysSo) {
  AddJob("a", 0, 0, 0);
  EXPECT_EQ(Run({"a"}).out, "a: no slot was held yet\n");
  EXPECT_EQ(Run({"--all"}).out, "1 job: no slot was held yet\n");
}

TEST_F(GoodputCommandTest, WrongArgumentsSayWhatToDo) {
  AddJob("a", 1, 0, 0);
  const CommandResult unknown = Run({"a", "nobody"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("there is no job 'jobs/nobody'"));
  EXPECT_EQ(unknown.out, "");
  const CommandResult none = Run({});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("name jobs, or say --all"));
  const CommandResult both = Run({"a", "--all"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("--all is every job"));
  const CommandResult twice = Run({"a", "jobs/a"});
  EXPECT_EQ(twice.exit_code, 2);
  EXPECT_THAT(twice.err, HasSubstr("named twice"));
}

}  // namespace
}  // namespace wavefield
