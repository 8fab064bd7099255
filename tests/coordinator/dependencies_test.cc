#include "coordinator/jobs/dependencies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/coordinator/record_fixtures.h"

namespace wavefield::coordinator {
namespace {

using Kind = DependencyState::Kind;
using testing::ElementsAre;
using testing::HasSubstr;

class DependenciesTest : public testing::Test {
 protected:
  void Wait(const std::string& id, const std::string& on) {
    auto& dependency = *record_.mutable_job()->mutable_spec()->add_after();
    dependency.set_job("jobs/" + id);
    dependency.set_on(on);
  }
  void Set(const std::string& id, v1::JobState state, const std::string& message = "") {
    v1::Job& job = jobs_[id];
    job.set_name("jobs/" + id);
    job.set_state(state);
    job.set_state_message(message);
  }
  DependencyState Check() {
    return CheckDependencies(record_, [&](const std::string& id) {
      const auto found = jobs_.find(id);
      return found == jobs_.end() ? std::nullopt : std::optional(found->second);
    });
  }

  JobRecord record_ = QueuedJob("x");
  std::map<std::string, v1::Job> jobs_;
};

TEST_F(DependenciesTest, WithoutAnyItIsReady) { EXPECT_EQ(Check().kind, Kind::kReady); }

TEST_F(DependenciesTest, WaitsUntilAllHaveEnded) {
  Wait("a", "success");
  Wait("b", "end");
  Wait("c", "success");
  Set("a", v1::JOB_STATE_SUCCEEDED);
  Set("b", v1::JOB_STATE_RUNNING);
  jobs_["b"].mutable_last_step()->set_step(40);
  jobs_["b"].set_max_steps(100);
  Set("c", v1::JOB_STATE_PAUSED);
  const DependencyState waits = Check();
  EXPECT_EQ(waits.kind, Kind::kWaiting);
  EXPECT_EQ(
      waits.message,
      "waits for the end of 2 of 3 jobs: jobs/b is running, step 40 of 100; jobs/c is paused");
  EXPECT_THAT(waits.jobs, ElementsAre("jobs/b", "jobs/c"));
  Set("b", v1::JOB_STATE_FAILED);
  EXPECT_EQ(Check().kind, Kind::kWaiting) << "any end of b will do";
  Set("c", v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(Check().kind, Kind::kReady);
}

TEST_F(DependenciesTest, FailsAsSoonAsOneThatMustSucceedDoesNot) {
  Wait("a", "end");
  Wait("b", "success");
  Set("a", v1::JOB_STATE_RUNNING);
  Set("b", v1::JOB_STATE_FAILED, "rank 0 on workers/w ended with exit code 1");
  const DependencyState failed = Check();
  EXPECT_EQ(failed.kind, Kind::kFailed);
  EXPECT_EQ(failed.message,
            "starts after the success of jobs/b, which has failed: rank 0 on workers/w ended with "
            "exit code 1");
  EXPECT_THAT(failed.jobs, ElementsAre("jobs/b"));
  Set("b", v1::JOB_STATE_CANCELLED, "cancelled while it waited");
  EXPECT_THAT(Check().message, HasSubstr("has been cancelled"));
  jobs_.erase("b");
  EXPECT_EQ(Check().kind, Kind::kFailed);
  EXPECT_THAT(Check().message, HasSubstr("does not exist any more"));
}

TEST_F(DependenciesTest, OneThatIsGoneHasEnded) {
  Wait("a", "end");
  EXPECT_EQ(Check().kind, Kind::kReady);
}

TEST_F(DependenciesTest, ManyAreCounted) {
  for (int i = 0; i < 100; ++i) {
    Wait("j" + std::to_string(i), "success");
    Set("j" + std::to_string(i), v1::JOB_STATE_QUEUED);
  }
  const DependencyState waits = Check();
  EXPECT_EQ(waits.jobs.size(), 100u);
  EXPECT_THAT(waits.message, HasSubstr("jobs/j4 is queued; and 95 more"));
}

TEST_F(DependenciesTest, OnceStartedItWaitsNoMore) {
  Wait("a", "success");
  Set("a", v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(WaitsFor(record_, "jobs/a"));
  EXPECT_FALSE(WaitsFor(record_, "jobs/b"));
  StartAttempt(record_, {{"w", "w1", 0}, {"w", "w1", 1}}, {}, absl::FromUnixSeconds(1));
  OnWorkerGone(record_, "w", "", "gone", absl::FromUnixSeconds(2));
  ASSERT_EQ(record_.job().state(), v1::JOB_STATE_QUEUED);
  Set("a", v1::JOB_STATE_RUNNING);
  EXPECT_EQ(Check().kind, Kind::kReady);
  EXPECT_FALSE(WaitsFor(record_, "jobs/a"));
}

}  // namespace
}  // namespace wavefield::coordinator
