#include "coordinator/jobs/job_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/admission/spec_defaults.h"
#include "proto/rpc/status.h"
#include "tests/coordinator/record_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

class JobUpdateTest : public testing::Test {
 protected:
  void SetUp() override {
    v1::JobSpec& spec = *record_.mutable_job()->mutable_spec();
    spec.mutable_training()->set_max_steps(100);
    SetTraining(TrainingConfigOf(spec, 1), spec);
    record_.mutable_job()->set_max_steps(100);
    record_.mutable_job()->set_etag("\"7\"");
  }
  v1::JobSpec& asked() { return *request_.mutable_job()->mutable_spec(); }
  const v1::JobSpec& spec() const { return record_.job().spec(); }
  absl::Status Update(const std::vector<std::string>& paths) {
    request_.mutable_update_mask()->mutable_paths()->Assign(paths.begin(), paths.end());
    return ApplyUpdate(request_, record_);
  }
  void ExpectRefused(const std::string& path, absl::StatusCode code, const std::string& words) {
    const std::string before = record_.SerializeAsString();
    const absl::Status status = Update({path});
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_EQ(record_.SerializeAsString(), before);
  }

  JobRecord record_ = QueuedJob("x", 1);
  v1::UpdateJobRequest request_;
};

TEST_F(JobUpdateTest, ChangesWhatTheMaskNamesAndNothingElse) {
  (*record_.mutable_job()->mutable_spec()->mutable_labels())["old"] = "1";
  (*asked().mutable_labels())["team"] = "waves";
  asked().set_priority(7);
  asked().mutable_checkpoint()->set_keep_last(5);
  asked().mutable_checkpoint()->set_keep_every_steps(1000);
  asked().mutable_checkpoint()->set_keep_every_hours(1.5);
  asked().mutable_checkpoint()->set_keep_best(2);
  asked().mutable_restart()->set_max_restarts(9);
  asked().mutable_training()->set_seed(99);
  ASSERT_TRUE(Update({"spec.priority"}).ok());
  EXPECT_EQ(spec().priority(), 7);
  EXPECT_EQ(spec().labels().count("old"), 1u);
  ASSERT_TRUE(Update({"spec.labels", "spec.checkpoint.keep_last",
                      "spec.checkpoint.keep_every_steps", "spec.checkpoint.keep_every_hours",
                      "spec.checkpoint.keep_best", "spec.restart.max_restarts"})
                  .ok());
  EXPECT_EQ(spec().labels().count("old"), 0u) << "all labels are replaced";
  EXPECT_EQ(spec().labels().at("team"), "waves");
  EXPECT_EQ(spec().checkpoint().keep_last(), 5);
  EXPECT_EQ(spec().checkpoint().keep_every_steps(), 1000);
  EXPECT_EQ(spec().checkpoint().keep_every_hours(), 1.5);
  EXPECT_EQ(spec().checkpoint().keep_best(), 2);
  EXPECT_EQ(spec().restart().max_restarts(), 9);
  EXPECT_EQ(spec().training().seed(), 1u);
}

TEST_F(JobUpdateTest, RefusesOtherFieldsAndWrongValues) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  ExpectRefused("spec.dataset", invalid,
                "update_mask: has 'spec.dataset'; allowed: spec.checkpoint.");
  ExpectRefused("spec.checkpoint", invalid, "has 'spec.checkpoint'");
  ExpectRefused("state", invalid, "has 'state'");
  asked().set_priority(1001);
  ExpectRefused("spec.priority", invalid, "job.spec.priority is 1001; allowed: -1000 to 1000");
  asked().mutable_checkpoint()->set_keep_last(0);
  ExpectRefused("spec.checkpoint.keep_last", invalid, "job.spec.checkpoint.keep_last is 0");
  asked().mutable_checkpoint()->set_keep_last(10'001);
  ExpectRefused("spec.checkpoint.keep_last", invalid, "allowed: 1 to 10000");
  asked().mutable_checkpoint()->set_keep_best(1001);
  ExpectRefused("spec.checkpoint.keep_best", invalid, "allowed: 0 to 1000");
  asked().mutable_checkpoint()->set_keep_every_steps(-1);
  ExpectRefused("spec.checkpoint.keep_every_steps", invalid, "keep_every_steps is -1");
  asked().mutable_checkpoint()->set_keep_every_hours(-0.5);
  ExpectRefused("spec.checkpoint.keep_every_hours", invalid, "keep_every_hours is -0.5");
  (*asked().mutable_labels())["no spaces"] = "1";
  ExpectRefused("spec.labels", invalid, "has 'no spaces'");
  request_.clear_update_mask();
  EXPECT_THAT(std::string(ApplyUpdate(request_, record_).message()),
              HasSubstr("is empty; allowed"));
}

TEST_F(JobUpdateTest, ADifferentEtagAborts) {
  asked().set_priority(1);
  request_.set_etag("\"6\"");
  ExpectRefused("spec.priority", absl::StatusCode::kAborted, "its etag is \"7\"");
  request_.set_etag("\"7\"");
  EXPECT_TRUE(Update({"spec.priority"}).ok());
}

TEST_F(JobUpdateTest, BudgetsOnlyGrow) {
  asked().mutable_training()->set_max_steps(99);
  ExpectRefused("spec.training.max_steps", absl::StatusCode::kInvalidArgument,
                "is 99, and was 100; budgets only grow");
  asked().mutable_training()->set_max_steps(200);
  ASSERT_TRUE(Update({"spec.training.max_steps"}).ok());
  EXPECT_EQ(spec().training().max_steps(), 200);
  EXPECT_EQ(record_.job().max_steps(), 200);
  asked().mutable_training()->set_max_minutes(5);
  ExpectRefused("spec.training.max_minutes", absl::StatusCode::kInvalidArgument, "0 is no bound");
}

TEST_F(JobUpdateTest, BudgetsOfAttemptsUnderWayStay) {
  StartAttempt(record_, {{"a", "a1", 0}}, {}, absl::FromUnixSeconds(1));
  asked().mutable_training()->set_max_steps(200);
  ExpectRefused("spec.training.max_steps", absl::StatusCode::kFailedPrecondition,
                "jobs/x is starting");
  asked().set_priority(3);
  EXPECT_TRUE(Update({"spec.priority"}).ok()) << "the rest may change";
}

TEST_F(JobUpdateTest, StepsOfAScheduleThatDependsOnThemStayOnceStarted) {
  record_.mutable_job()->mutable_start_time()->set_seconds(1);
  asked().mutable_training()->set_max_steps(200);
  ExpectRefused("spec.training.max_steps", absl::StatusCode::kFailedPrecondition,
                "schedule 'cosine' depends on max_steps");
  record_.mutable_job()->mutable_spec()->mutable_training()->mutable_schedule()->set_kind(
      "constant");
  EXPECT_TRUE(Update({"spec.training.max_steps"}).ok());
}

}  // namespace
}  // namespace wavefield::coordinator
