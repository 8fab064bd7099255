// `wavefield audit causality` of a job's checkpoint, on the cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class AuditTest : public testing::Test {
 protected:
  AuditTest() {
    report_.set_step(100);
    report_.set_windows(4);
    report_.set_tokens(64);
    report_.set_changes(32);
    report_.set_propagation("chunked");
    report_.set_allowed_disagreement(0.01);
    report_.mutable_disagreement()->set_difference(3e-6);
    report_.set_passed(true);
    cluster_.audit_causality = [this](const v1::AuditCausalityRequest& request,
                                      grpc::ServerWriter<v1::InferenceOutput>& writer) {
      request_ = request;
      v1::InferenceOutput output;
      *output.mutable_causality() = report_;
      output.set_done(true);
      writer.Write(output);
      return grpc::Status::OK;
    };
  }
  CommandResult Run(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"audit", "causality", "first@100"});
    return RunWavefield(cluster_.address(), more);
  }

  v1::CausalityReport report_;
  v1::AuditCausalityRequest request_;
  FakeCluster cluster_;
};

TEST_F(AuditTest, APassIsExitCodeZero) {
  const CommandResult result = Run();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, HasSubstr("4 windows of 64 tokens of held-out text, 32 changed tokens"));
  EXPECT_THAT(result.out, HasSubstr("propagation chunked"));
  EXPECT_THAT(result.out, HasSubstr("training    no earlier logit moved by one bit\n"));
  EXPECT_THAT(result.out, HasSubstr("differ by at most 3e-06 (allowed: 0.01)"));
  EXPECT_THAT(result.out, HasSubstr("PASS"));
  EXPECT_THAT(result.out, Not(HasSubstr("FAIL")));
}

TEST_F(AuditTest, ALeakSaysWhereAndHasAnExitCodeOfItsOwn) {
  report_.set_passed(false);
  v1::CausalityFinding& leak = *report_.mutable_training_leak();
  leak.set_difference(0.31);
  leak.set_window(2);
  leak.set_token(46);
  leak.set_changed_token(47);
  leak.set_vocabulary_id(37);
  const CommandResult result = Run();
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("training    an earlier logit moved by 0.31 (allowed: 0), window 2: after "
                        "token 46, of id 37, when token 47 was changed\n"));
  EXPECT_THAT(result.out, HasSubstr("FAIL: in training, logits depend on later tokens"));
  EXPECT_THAT(result.out, Not(HasSubstr("FAIL: generation")));
  EXPECT_THAT(result.out, Not(HasSubstr("PASS")));
}

TEST_F(AuditTest, ModesThatDisagreeFail) {
  report_.set_passed(false);
  report_.mutable_disagreement()->set_difference(0.5);
  const CommandResult result = Run();
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_THAT(result.out, HasSubstr("FAIL: generation computes another model than training"));
  EXPECT_THAT(result.out, Not(HasSubstr("FAIL: in training")));
}

TEST_F(AuditTest, FlagsAreTheRequestAndJsonIsTheReport) {
  const CommandResult result = Run({"--dataset", "other", "--windows", "9", "--sequence-length",
                                    "128", "--changes", "16", "--seed", "7", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(request_.checkpoint(), "jobs/first/checkpoints/100");
  EXPECT_EQ(request_.dataset(), "datasets/other");
  EXPECT_EQ(request_.windows(), 9);
  EXPECT_EQ(request_.sequence_length(), 128);
  EXPECT_EQ(request_.changes_per_window(), 16);
  EXPECT_EQ(request_.seed(), 7u);
  const json report = json::parse(result.out);
  EXPECT_EQ(report["passed"], true);
  EXPECT_EQ(report["disagreement"]["difference"], 3e-6);
}

TEST_F(AuditTest, FlagsOutsideTheirBoundsAreRefusedHere) {
  for (const auto& [flag, value] : {std::pair("--windows", "65"),
                                    {"--windows", "0"},
                                    {"--sequence-length", "1"},
                                    {"--sequence-length", "4097"},
                                    {"--changes", "257"}}) {
    EXPECT_EQ(Run({flag, value}).exit_code, 2) << flag << " " << value;
  }
}

TEST_F(AuditTest, TheGroupAloneShowsItsCommands) {
  const CommandResult result = RunWavefield(cluster_.address(), {"audit"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("causality"));
}

}  // namespace
}  // namespace wavefield
