// Jobs side by side: what is computed of their histories, and the command as a program against a
// fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr int64_t kBatchSize = 4;
constexpr int64_t kSequenceLength = 128;
constexpr int64_t kTokensPerStep = kBatchSize * kSequenceLength;

struct FakeJob {
  v1::Job job;
  std::vector<v1::StepMetrics> steps;
  std::vector<v1::EvaluationResult> evaluations;
};

// Keeps jobs with their histories, and answers as a coordinator does, in pages of 7 steps.
class CompareTest : public testing::Test {
 protected:
  CompareTest() {
    cluster_.get_job = [this](const v1::GetJobRequest& request, v1::Job& job) {
      const auto found = jobs_.find(request.name());
      if (found == jobs_.end()) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such job");
      job = found->second.job;
      return grpc::Status::OK;
    };
    cluster_.list_jobs = [this](const v1::ListJobsRequest&, v1::ListJobsResponse& response) {
      for (const auto& [name, fake] : jobs_) *response.add_jobs() = fake.job;
      return grpc::Status::OK;
    };
    cluster_.get_dataset = [this](const v1::GetDatasetRequest& request, v1::Dataset& dataset) {
      const auto found = datasets_.find(request.name());
      if (found == datasets_.end()) return grpc::Status(grpc::StatusCode::NOT_FOUND, "none");
      dataset = found->second;
      return grpc::Status::OK;
    };
    cluster_.list_metrics = [this](const v1::ListMetricsRequest& request,
                                   v1::ListMetricsResponse& response) {
      const FakeJob& fake = jobs_.at(request.parent());
      const size_t begin = request.page_token().empty() ? 0 : std::stoul(request.page_token());
      const size_t end = std::min(begin + 7, fake.steps.size());
      for (size_t i = begin; i < end; ++i) *response.add_steps() = fake.steps[i];
      const int64_t first = begin == 0 ? 0 : fake.steps[begin - 1].step();
      const bool more = end < fake.steps.size();
      for (const v1::EvaluationResult& evaluation : fake.evaluations) {
        if (evaluation.step() > first && (!more || evaluation.step() <= fake.steps[end - 1].step()))
          *response.add_evaluations() = evaluation;
      }
      if (more) response.set_next_page_token(std::to_string(end));
      return grpc::Status::OK;
    };
    AddDataset("words", "0123456789abcdef");
  }

  void AddDataset(const std::string& id, const std::string& content_hash) {
    v1::Dataset& dataset = datasets_["datasets/" + id];
    dataset.set_name("datasets/" + id);
    dataset.set_content_hash(content_hash);
    dataset.set_tokenizer("bpe");
    dataset.set_vocab_size(4096);
  }

  // A job that has done `steps` steps with loss `start` − 0.1 · (step − 1), evaluated every 10.
  FakeJob& AddJob(const std::string& id, int64_t steps, double start) {
    FakeJob& fake = jobs_["jobs/" + id];
    fake.job.set_name("jobs/" + id);
    fake.job.set_state(v1::JOB_STATE_SUCCEEDED);
    fake.job.set_parameter_count(1'000'000);
    v1::JobSpec& spec = *fake.job.mutable_spec();
    spec.set_dataset("datasets/words");
    v1::ModelSpec& model = *spec.mutable_model();
    model.set_form("modern");
    model.set_d_model(32);
    model.set_n_layers(2);
    model.set_n_heads(2);
    model.set_d_ff(64);
    model.set_vocab_size(512);
    model.set_damping("selective");
    model.set_deposit("outer");
    spec.mutable_training()->set_batch_size(kBatchSize);
    spec.mutable_training()->set_sequence_length(kSequenceLength);
    spec.mutable_training()->set_seed(1);
    spec.mutable_resources()->set_device("cpu");
    spec.mutable_resources()->set_world_size(1);
    for (int64_t step = 1; step <= steps; ++step) {
      v1::StepMetrics& metrics = fake.steps.emplace_back();
      metrics.set_step(step);
      metrics.set_attempt(1);
      metrics.set_loss(start - 0.1 * static_cast<double>(step - 1));
      metrics.set_total_tokens(step * kTokensPerStep);
      metrics.set_trained_seconds(2.0 * static_cast<double>(step));
      metrics.set_batch_digest(0x8000000000000000 + static_cast<uint64_t>(step));
      if (step % 10 != 0) continue;
      v1::EvaluationResult& evaluation = fake.evaluations.emplace_back();
      evaluation.set_step(step);
      evaluation.set_loss(metrics.loss());
      evaluation.set_perplexity(std::exp(metrics.loss()));
      evaluation.set_bits_per_byte(2.1234);
      evaluation.set_accuracy(0.321);
      evaluation.set_tokens(65536);
    }
    Finish(fake);
    return fake;
  }
  // Takes over into the job what its history ends with.
  static void Finish(FakeJob& fake) {
    if (!fake.steps.empty()) *fake.job.mutable_last_step() = fake.steps.back();
    fake.job.clear_last_evaluation();
    if (!fake.evaluations.empty()) *fake.job.mutable_last_evaluation() = fake.evaluations.back();
  }

  CommandResult Compare(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "compare");
    return RunWavefield(cluster_.address(), std::move(arguments));
  }
  json CompareJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const CommandResult result = Compare(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  }

  std::map<std::string, FakeJob> jobs_;
  std::map<std::string, v1::Dataset> datasets_;
  FakeCluster cluster_;
};

TEST_F(CompareTest, AFairComparisonShowsResultsAndNothingAgainstIt) {
  AddJob("field", 40, 8);
  AddJob("other", 40, 8.5).job.mutable_spec()->mutable_model()->set_damping("static");
  const CommandResult result = Compare({"field", "other"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("selective outer"));
  EXPECT_THAT(result.out, HasSubstr("static outer"));
  EXPECT_THAT(result.out, testing::ContainsRegex("held-out loss +4\\.1000 +4\\.6000\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("tokens +20,480 +20,480\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("training time +1m20s +1m20s\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("batches as field +— +the same 40\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("\nmodel.damping +selective +static\n"));
  EXPECT_THAT(result.out, Not(HasSubstr("model.deposit")));
  EXPECT_THAT(result.out, Not(HasSubstr("UNFAIR")));
}

TEST_F(CompareTest, TokensAreCountedToTheWorstFinalHeldOutLoss) {
  AddJob("good", 40, 8);
  AddJob("bad", 40, 8.95);  // ends with 5.05; `good` has 5.1 at step 30
  const json compared = CompareJson({"good", "bad"});
  EXPECT_NEAR(compared["target"]["loss"], 5.05, 1e-9);
  EXPECT_EQ(compared["target"]["held_out"], true);
  EXPECT_EQ(compared["jobs"][0]["tokens_to_target"], 40 * kTokensPerStep);
  EXPECT_EQ(compared["jobs"][1]["tokens_to_target"], 40 * kTokensPerStep);
}

TEST_F(CompareTest, TokensAreCountedToTheLossThatIsAskedFor) {
  AddJob("good", 40, 8);
  AddJob("bad", 40, 8.95);
  const json compared = CompareJson({"good", "bad", "--loss", "5.11"});
  EXPECT_EQ(compared["jobs"][0]["tokens_to_target"], 30 * kTokensPerStep);
  EXPECT_EQ(compared["jobs"][1]["tokens_to_target"], 40 * kTokensPerStep);
  const json never = CompareJson({"good", "bad", "--loss", "4.5"});
  EXPECT_EQ(never["jobs"][0]["tokens_to_target"], 40 * kTokensPerStep);
  EXPECT_FALSE(never["jobs"][1].contains("tokens_to_target"));
  EXPECT_THAT(Compare({"good", "bad", "--loss", "4.5"}).out,
              testing::ContainsRegex("tokens to loss 4\\.5000 +20,480 +—\n"));
}

TEST_F(CompareTest, WithoutEvaluationsTokensAreCountedToASmoothedTrainingLoss) {
  FakeJob& good = AddJob("good", 60, 8);
  FakeJob& bad = AddJob("bad", 60, 8.5);
  bad.evaluations.clear();
  Finish(bad);
  // One lucky batch reaches nothing.
  good.steps[4].set_loss(0.5);
  const json compared = CompareJson({"good", "bad"});
  EXPECT_EQ(compared["target"]["held_out"], false);
  const double target = compared["target"]["loss"];
  EXPECT_GT(target, 8.5 - 5.9);  // behind the last loss, as a mean of a falling curve is
  EXPECT_LT(target, 8.5 - 5.9 + 2.0);
  EXPECT_EQ(compared["jobs"][1]["tokens_to_target"], 60 * kTokensPerStep);
  const int64_t reached = compared["jobs"][0]["tokens_to_target"];
  EXPECT_GE(reached, 50 * kTokensPerStep);
  EXPECT_LT(reached, 60 * kTokensPerStep);
  EXPECT_THAT(compared["unfair"].dump(), HasSubstr("not evaluated: bad"));
}

TEST_F(CompareTest, EveryUnfairDifferenceIsNamedWithItsValues) {
  AddDataset("other-words", "fedcba9876543210");
  datasets_["datasets/other-words"].set_vocab_size(8192);
  AddJob("a", 40, 8);
  FakeJob& b = AddJob("b", 30, 8);
  v1::JobSpec& spec = *b.job.mutable_spec();
  spec.set_dataset("datasets/other-words");
  spec.mutable_training()->set_sequence_length(64);
  spec.mutable_training()->set_batch_size(8);
  b.job.set_parameter_count(1'020'000);
  b.job.mutable_last_evaluation()->set_tokens(1000);
  b.steps[11].set_batch_digest(5);
  const CommandResult result = Compare({"a", "b"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* line :
       {"UNFAIR: the datasets differ: words (0123456789ab): a; other-words (fedcba987654): b",
        "UNFAIR: the tokenizers differ: bpe of 4,096: a; bpe of 8,192: b",
        "UNFAIR: the sequence lengths differ: 128: a; 64: b",
        "UNFAIR: the batch sizes differ: 4: a; 8: b",
        "UNFAIR: parameters are 2.0 % apart: 1,000,000: a; 1,020,000: b",
        "UNFAIR: the jobs trained on different numbers of tokens: 20,480: a; 15,360: b",
        "UNFAIR: the jobs were evaluated on different numbers of tokens: 65,536: a; 1,000: b",
        "UNFAIR: b saw other batches than a from step 12 on"}) {
    EXPECT_THAT(result.out, HasSubstr(line));
  }
}

TEST_F(CompareTest, ParametersWithinOnePercentAreFair) {
  AddJob("a", 10, 8);
  AddJob("b", 10, 8).job.set_parameter_count(1'009'999);
  EXPECT_THAT(Compare({"a", "b"}).out, Not(HasSubstr("UNFAIR")));
}

TEST_F(CompareTest, AnotherSeedIsSaidButFair) {
  AddJob("a", 10, 8);
  FakeJob& b = AddJob("b", 10, 8);
  b.job.mutable_spec()->mutable_training()->set_seed(2);
  for (v1::StepMetrics& step : b.steps) step.set_batch_digest(step.batch_digest() + 77);
  const CommandResult result = Compare({"a", "b"});
  EXPECT_THAT(result.out,
              HasSubstr("note: seeds, and with them the order of the data: 1: a; 2: b"));
  EXPECT_THAT(result.out, HasSubstr("others from step 1"));
  EXPECT_THAT(result.out, Not(HasSubstr("UNFAIR")));
}

TEST_F(CompareTest, AStepThatTwoAttemptsDidIsComparedInBothAndCountsOnce) {
  AddJob("a", 20, 8);
  FakeJob& b = AddJob("b", 20, 8);
  v1::StepMetrics again = b.steps[6];  // the last of its page
  again.set_attempt(2);
  again.set_batch_digest(99);
  b.steps.insert(b.steps.begin() + 7, again);
  const json compared = CompareJson({"a", "b"});
  EXPECT_EQ(compared["jobs"][1]["other_batch_step"], 7);
  EXPECT_EQ(compared["jobs"][1]["batches_compared"], 20);
}

TEST_F(CompareTest, JobsWithoutDigestsHaveUnknownBatches) {
  AddJob("a", 10, 8);
  for (v1::StepMetrics& step : AddJob("b", 10, 8).steps) step.clear_batch_digest();
  EXPECT_THAT(Compare({"a", "b"}).out, HasSubstr("not known"));
}

TEST_F(CompareTest, AJobThatRunsOrHasNotBegunIsComparedAsItStands) {
  AddJob("a", 40, 8);
  AddJob("b", 25, 8).job.set_state(v1::JOB_STATE_RUNNING);
  AddJob("c", 0, 8).job.set_state(v1::JOB_STATE_QUEUED);
  const CommandResult result = Compare({"a", "b", "c"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("note: b is RUNNING and goes on; its figures are those of step 25"));
  EXPECT_THAT(result.out, HasSubstr("UNFAIR: last evaluated before their last step: b\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("held-out loss +4\\.1000 +6\\.1000 +—\n"));
}

TEST_F(CompareTest, ADivergedJobNeverReachesTheTarget) {
  AddJob("a", 20, 8);
  FakeJob& b = AddJob("b", 20, 8);
  for (v1::EvaluationResult& evaluation : b.evaluations) evaluation.set_loss(std::nan(""));
  for (v1::StepMetrics& step : b.steps) step.set_loss(std::nan(""));
  Finish(b);
  const json compared = CompareJson({"a", "b"});
  EXPECT_EQ(compared["jobs"][1]["evaluation"]["loss"], "NaN");
  EXPECT_FALSE(compared["jobs"][1].contains("tokens_to_target"));
  EXPECT_EQ(compared["jobs"][0]["tokens_to_target"], 20 * kTokensPerStep);
}

TEST_F(CompareTest, ManyJobsHaveARowEach) {
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) names.push_back("job-" + std::to_string(i));
  for (const std::string& name : names) AddJob(name, 10, 8);
  const CommandResult result = Compare(names);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::StartsWith("JOB "));
  EXPECT_THAT(result.out, testing::ContainsRegex("\njob-11  SUCCEEDED  selective outer "));
}

TEST_F(CompareTest, JobsThatCannotBeComparedAreRefused) {
  AddJob("field", 10, 8);
  const CommandResult unknown = Compare({"field", "feild"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("there is no job 'feild'; did you mean 'field'?"));
  const CommandResult twice = Compare({"field", "jobs/field"});
  EXPECT_EQ(twice.exit_code, 2);
  EXPECT_THAT(twice.err, HasSubstr("'jobs/field' is named twice"));
  EXPECT_EQ(Compare({"field"}).exit_code, 2);
  EXPECT_EQ(Compare({"field", "Not A Name"}).exit_code, 2);
  EXPECT_EQ(Compare({"field", "field", "--loss", "nan"}).exit_code, 2);
}

}  // namespace
}  // namespace wavefield
