// explain, queue and jobs: what is shown of jobs, run as programs against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"
#include "tests/cli/hostile_text.h"
#include "tests/cli/sample_job.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

void SetTimeAgo(google::protobuf::Timestamp& time, int64_t seconds) {
  time.set_seconds(absl::ToUnixSeconds(absl::Now()) - seconds);
}

class JobListsTest : public testing::Test {
 protected:
  CommandResult Run(std::vector<std::string> arguments) {
    return RunWavefield(cluster_.address(), std::move(arguments));
  }

  FakeCluster cluster_;
};

TEST_F(JobListsTest, ExplainRanksBlockersWithNumbersAndTimes) {
  cluster_.explain_job = [](const v1::ExplainJobRequest& request, v1::JobExplanation& answer) {
    EXPECT_EQ(request.name(), "jobs/first");
    *answer.mutable_job() = MakeJob("first", v1::JOB_STATE_QUEUED);
    answer.set_summary("needs 4 cpu slots, 2 are free");
    SetTimeAgo(*answer.mutable_expected_start(), -200);
    v1::Blocker& held = *answer.add_blockers();
    held.set_kind(v1::Blocker::SLOTS_HELD);
    held.set_message("j-17 holds 2 slots");
    held.set_needed(4);
    held.set_available(2);
    held.set_blocked(2);
    held.add_resources("jobs/j-17");
    SetTimeAgo(*held.mutable_expected_end(), -200);
    v1::Blocker& memory = *answer.add_blockers();
    memory.set_kind(v1::Blocker::TOO_LITTLE_MEMORY);
    memory.set_needed(2 << 20);
    memory.set_message(kHostileText);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"explain", "first"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("first QUEUED: needs 4 cpu slots, 2 are free\n"));
  EXPECT_THAT(result.out, HasSubstr("should start in 3 min"));
  EXPECT_THAT(result.out, ContainsRegex("1 +slots held +4 +2 +2 +in 3 min +j-17 +j-17 holds 2"));
  EXPECT_THAT(result.out, ContainsRegex("2 +too little memory +2.0 MiB +0 B"));
  EXPECT_FALSE(HasControlCharacters(result.out)) << result.out;
  EXPECT_THAT(Run({"explain", "first", "--exact"}).out, ContainsRegex("should start 20..-.*Z"));
  EXPECT_EQ(json::parse(Run({"explain", "first", "--json"}).out)["blockers"].size(), 2u);
}

TEST_F(JobListsTest, ExplainShowsTheRootCauseWithTheLastLines) {
  cluster_.explain_job = [](const v1::ExplainJobRequest&, v1::JobExplanation& answer) {
    *answer.mutable_job() = MakeJob("first", v1::JOB_STATE_FAILED);
    answer.set_summary("rank 1 was killed");
    v1::RootCause& cause = *answer.mutable_root_cause();
    cause.set_kind(v1::RootCause::KILLED);
    cause.set_attempt(3);
    cause.set_rank(1);
    cause.set_worker("workers/host");
    cause.set_signal(9);
    cause.set_phase("step");
    cause.set_step(1234);
    cause.add_last_lines("loss 3.5");
    cause.add_last_lines(kHostileText);
    cause.set_advice("look at the kernel's log");
    SetTimeAgo(*cause.mutable_time(), 125);
    v1::RootCause& earlier = *answer.add_earlier();
    earlier.set_kind(v1::RootCause::WORKER_LOST);
    earlier.set_attempt(2);
    earlier.set_rank(-1);
    earlier.set_worker("workers/other");
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"explain", "first"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* expected :
       {"first FAILED: rank 1 was killed", "rank 1 on host", "signal 9 (SIGKILL)", "3, 2 min ago",
        "1,234", "  loss 3.5\n", "what to do: look at the kernel's log"}) {
    EXPECT_THAT(result.out, HasSubstr(expected));
  }
  EXPECT_THAT(result.out, ContainsRegex("2 +- +worker lost +worker other"));
  EXPECT_FALSE(HasControlCharacters(result.out)) << result.out;
}

TEST_F(JobListsTest, TheQueueIsShownInItsOrder) {
  cluster_.list_queue = [](const v1::ListQueueRequest& request, v1::ListQueueResponse& response) {
    const bool first = request.page_token().empty();
    v1::QueueEntry& entry = *response.add_entries();
    entry.set_job(first ? "jobs/z" : "jobs/a");
    entry.set_position(first ? 1 : 2);
    entry.set_world_size(4);
    entry.set_device("cpu");
    entry.set_reason(v1::JOB_REASON_WAITING_FOR_TURN);
    entry.set_effective_priority(2.5);
    SetTimeAgo(*entry.mutable_queue_time(), 7300);
    if (first) response.set_next_page_token("more");
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"queue"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              ContainsRegex("1 +z +4 +cpu +0 +2 h ago +not known +waiting for turn\n2 +a "));
  EXPECT_THAT(Run({"queue", "--output", "wide"}).out, ContainsRegex("20..-.*Z +not known +2.50"));
  EXPECT_EQ(Run({"queue", "--output", "names"}).out, "z\na\n");
  EXPECT_EQ(Run({"queue", "--output", "yaml"}).exit_code, 2);
}

TEST_F(JobListsTest, JobsAreFilteredOrderedAndLimited) {
  std::vector<v1::ListJobsRequest> requests;
  cluster_.list_jobs = [&](const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
    requests.push_back(request);
    for (int i = 0; i < 2; ++i) {
      *response.add_jobs() = MakeJob("j" + std::to_string(i), v1::JOB_STATE_PAUSED);
      response.mutable_jobs(i)->set_state_message(kHostileText);
      (*response.mutable_jobs(i)->mutable_spec()->mutable_labels())["team"] = "nlp";
    }
    response.set_next_page_token("more");
    return grpc::Status::OK;
  };
  const CommandResult limited =
      Run({"jobs", "--state", "paused", "--filter", "priority>2", "--order-by", "step desc",
           "--limit", "3", "--output", "names"});
  EXPECT_EQ(limited.out, "j0\nj1\nj0\n");
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].filter(), "state=PAUSED AND priority>2");
  EXPECT_EQ(requests[0].order_by(), "step desc");
  EXPECT_EQ(requests[0].page_size(), 3);
  const CommandResult wide = Run({"jobs", "--limit", "1", "--output", "wide"});
  EXPECT_THAT(wide.out, HasSubstr("team=nlp"));
  EXPECT_THAT(wide.out, HasSubstr("LABELS"));
  EXPECT_FALSE(HasControlCharacters(wide.out)) << wide.out;
  EXPECT_THAT(Run({"jobs", "--limit", "1"}).out, Not(HasSubstr("LABELS")));
  EXPECT_EQ(Run({"jobs", "--limit", "0"}).exit_code, 2);
  EXPECT_EQ(Run({"jobs", "--follow", "--limit", "1"}).exit_code, 2);
}

TEST_F(JobListsTest, FollowedJobsAreTakenUpWhereTheConnectionBroke) {
  std::vector<v1::WatchJobsRequest> requests;
  cluster_.watch_jobs = [&](const v1::WatchJobsRequest& request,
                            grpc::ServerWriter<v1::WatchJobsResponse>& writer) {
    requests.push_back(request);
    v1::WatchJobsResponse update;
    if (requests.size() == 1) {
      update.set_revision(7);
      update.set_reset(true);
      *update.add_jobs() = MakeJob("a", v1::JOB_STATE_RUNNING);
      *update.add_jobs() = MakeJob("b", v1::JOB_STATE_QUEUED);
      writer.Write(update);
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
    }
    if (requests.size() == 2) {
      update.set_revision(9);
      *update.add_jobs() = MakeJob("a", v1::JOB_STATE_RUNNING);  // nothing new
      *update.add_jobs() = MakeJob("b", v1::JOB_STATE_PAUSED);
      update.mutable_jobs(1)->set_reason(v1::JOB_REASON_PAUSED_BY_USER);
      update.add_removed("jobs/a");
      update.add_removed("jobs/unknown");
      writer.Write(update);
    }
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "enough");
  };
  const CommandResult result = Run({"jobs", "--follow", "--filter", "priority>0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "a  RUNNING\nb  QUEUED\nb  PAUSED  paused by user\na  is gone\n");
  EXPECT_THAT(result.err, HasSubstr("connection lost"));
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].from_revision(), 0);
  EXPECT_EQ(requests[1].from_revision(), 7);
  EXPECT_EQ(requests[1].filter(), "priority>0");
}

TEST_F(JobListsTest, APipeGetsNoColours) {
  cluster_.list_jobs = [](const v1::ListJobsRequest&, v1::ListJobsResponse& response) {
    *response.add_jobs() = MakeJob("a", v1::JOB_STATE_FAILED);
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"jobs"}).out, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace wavefield
