// Specs that speak of other jobs: `after` and `init_from`.
#include "coordinator/admission/references.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "tests/coordinator/admission_fixture.h"
#include "tests/coordinator/record_fixtures.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class ReferencesTest : public AdmissionTest {
 protected:
  // A job with the model that this fixture's spec would have, and a checkpoint of step 40.
  void SetUp() override {
    AdmissionTest::SetUp();
    JobRecord source = Admit().value();
    source.mutable_job()->set_name("jobs/source");
    source.set_checkpoint_directory("checkpoints/source");
    Put(source);
    checkpoint_.set_name("jobs/source/checkpoints/40-1");
    checkpoint_.set_step(40);
    checkpoint_.set_directory("checkpoints/source/40-1");
    PutCheckpoint();
  }
  void Put(JobRecord record) {
    ASSERT_TRUE(store_->Write([&](Transaction& t) { return t.PutJob(record); }).ok());
  }
  void PutCheckpoint() {
    ASSERT_TRUE(
        store_->Write([&](Transaction& t) { return t.PutCheckpoint("source", checkpoint_); }).ok());
  }
  v1::Dependency& After(const std::string& job) {
    v1::Dependency& dependency = *spec().add_after();
    dependency.set_job(job);
    return dependency;
  }
  absl::Status CheckAgain(const JobRecord& record) {
    return store_->Read([&](StoreReader& reader) { return CheckReferencesAgain(reader, record); });
  }

  v1::Checkpoint checkpoint_;
};

TEST_F(ReferencesTest, DependenciesAreSpelledOut) {
  After("source");
  Put(QueuedJob("other"));
  After("jobs/other").set_on("end");
  const auto record = Admit();
  ASSERT_TRUE(record.ok()) << record.status();
  const auto& after = record->job().spec().after();
  EXPECT_EQ(after.Get(0).job(), "jobs/source");
  EXPECT_EQ(after.Get(0).on(), "success");
  EXPECT_EQ(after.Get(1).job(), "jobs/other");
  EXPECT_EQ(after.Get(1).on(), "end");
}

TEST_F(ReferencesTest, DependenciesThatCannotBeAreRefused) {
  request_.set_job_id("me");
  After("nobody");
  ExpectOnly("after[0].job", "is jobs/nobody, which does not exist");
  spec().mutable_after(0)->set_job("me");
  ExpectOnly("after[0].job", "is this job itself");
  spec().mutable_after(0)->set_job("jobs/a/b");
  ExpectOnly("after[0].job", "name a job, as jobs/ID or ID");
  spec().mutable_after(0)->set_job("source");
  After("jobs/source");
  ExpectOnly("after[1].job", "is jobs/source, which is named twice");
  spec().mutable_after()->RemoveLast();
  spec().mutable_after(0)->set_on("failure");
  ExpectOnly("after[0].on", "is 'failure'; allowed: 'success', 'end'");
  for (int i = 0; i < 100; ++i) After("source");
  ExpectOnly("after", "has 101 entries; at most 100");
}

TEST_F(ReferencesTest, JobsOfTheSameBatchMayBeNamed) {
  After("first");
  EXPECT_FALSE(Admit().ok());
  facts_.created_along.insert("first");
  EXPECT_TRUE(Admit().ok());
}

TEST_F(ReferencesTest, WeightsAreNamedExactlyAndTheModelIsTheirs) {
  for (const char* name : {"40", "latest", "40-1"}) {
    spec().set_init_from(std::string("jobs/source/checkpoints/") + name);
    const auto record = Admit();
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->job().spec().init_from(), checkpoint_.name());
    EXPECT_EQ(record->init_from_directory(), checkpoint_.directory());
  }
  const v1::ModelSpec given = Admit()->job().spec().model();
  spec().clear_model();
  const auto record = Admit();
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->job().spec().model().d_model(), given.d_model());
  EXPECT_EQ(record->job().spec().model().vocab_size(), given.vocab_size());
  EXPECT_EQ(record->job().parameter_count(), Admit()->job().parameter_count());
}

TEST_F(ReferencesTest, AnotherModelIsRefusedFieldByField) {
  spec().set_init_from(checkpoint_.name());
  const v1::ModelSpec source = Admit()->job().spec().model();
  spec().mutable_model()->set_d_ff(source.d_ff() + 64);
  spec().mutable_model()->set_vocab_size(source.vocab_size() + 64);
  const auto details = BadRequestOf(Admit().status());
  ASSERT_EQ(details.field_violations_size(), 2) << details.ShortDebugString();
  EXPECT_EQ(details.field_violations(0).field(), "model.d_ff");
  EXPECT_EQ(details.field_violations(0).description(),
            fmt::format("is {}; jobs/source/checkpoints/40-1, from which the job starts, has {}",
                        source.d_ff() + 64, source.d_ff()));
  EXPECT_EQ(details.field_violations(1).field(), "model.vocab_size");
}

TEST_F(ReferencesTest, EverythingThatShapesTheModelIsCompared) {
  ModelConfig model;
  model.d_model = 64;
  const std::vector<std::function<void(ModelConfig&)>> changes = {[](ModelConfig& m) { m.form = "other"; },
                                                                  [](ModelConfig& m) { m.d_model = 32; },
                                                                  [](ModelConfig& m) { m.n_layers = 7; },
                                                                  [](ModelConfig& m) { m.n_heads = 7; },
                                                                  [](ModelConfig& m) { m.d_ff = 7; },
                                                                  [](ModelConfig& m) { m.vocab_size = 7; },
                                                                  [](ModelConfig& m) { m.conv_width = 7; },
                                                                  [](ModelConfig& m) { m.damping = "static"; },
                                                                  [](ModelConfig& m) { m.deposit = "other"; },
                                                                  [](ModelConfig& m) { m.attention_layers = {1}; }};
  for (const auto& change : changes) {
    InitialWeights weights{"jobs/a/checkpoints/1-1", model};
    change(weights.model);
    std::vector<FieldViolation> violations;
    CheckSameModel(model, weights, violations);
    EXPECT_EQ(violations.size(), 1u);
  }
  std::vector<FieldViolation> violations;
  CheckSameModel(model, {"jobs/a/checkpoints/1-1", model}, violations);
  EXPECT_THAT(violations, IsEmpty());
}

TEST_F(ReferencesTest, WeightsThatAreNotThereOrDamagedAreRefused) {
  spec().set_init_from("jobs/source/checkpoints/41");
  ExpectOnly("init_from", "the newest of jobs/source are of steps 40");
  spec().set_init_from("jobs/nobody/checkpoints/latest");
  ExpectOnly("init_from", "there is no job 'nobody'");
  spec().set_init_from("../../etc/passwd");
  ExpectOnly("init_from", "is not the name of a checkpoint");
  spec().clear_model();
  ExpectOnly("init_from", "is not the name of a checkpoint");
  checkpoint_.set_damage("model.safetensors: is missing");
  PutCheckpoint();
  spec().set_init_from("jobs/source/checkpoints/40");
  ExpectOnly("init_from", "is damaged: model.safetensors: is missing");
}

TEST_F(ReferencesTest, WhatWasRemovedMeanwhileIsNoticed) {
  After("source");
  spec().set_init_from(checkpoint_.name());
  const JobRecord record = Admit().value();
  EXPECT_TRUE(CheckAgain(record).ok());
  ASSERT_TRUE(store_->Write([&](Transaction& t) { return t.DeleteCheckpoint(checkpoint_); }).ok());
  EXPECT_EQ(CheckAgain(record).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(CheckAgain(record).message()),
              HasSubstr("jobs/source/checkpoints/40-1 does not exist any more"));
}

TEST_F(ReferencesTest, CheckpointPoliciesHaveDefaultsAndBounds) {
  const auto record = Admit();
  ASSERT_TRUE(record.ok());
  const v1::CheckpointPolicy& policy = record->job().spec().checkpoint();
  EXPECT_EQ(policy.keep_last(), 3);
  EXPECT_TRUE(policy.has_keep_every_steps() && policy.has_keep_every_hours() &&
              policy.has_keep_best());
  spec().mutable_checkpoint()->set_keep_last(10'001);
  ExpectOnly("checkpoint.keep_last", "allowed: 1 to 10000");
  spec().mutable_checkpoint()->set_keep_last(10'000);
  spec().mutable_checkpoint()->set_keep_best(-1);
  ExpectOnly("checkpoint.keep_best", "allowed: 0 to 1000");
  spec().mutable_checkpoint()->set_keep_best(1000);
  spec().mutable_checkpoint()->set_keep_every_steps(-1);
  ExpectOnly("checkpoint.keep_every_steps", "is -1");
  spec().mutable_checkpoint()->set_keep_every_steps(0);
  spec().mutable_checkpoint()->set_keep_every_hours(std::nan(""));
  ExpectOnly("checkpoint.keep_every_hours", "is nan");
}

}  // namespace
}  // namespace wavefield::coordinator
