#include <limits>

#include "tests/coordinator/admission_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

TEST_F(AdmissionTest, FillsInEveryDefault) {
  const auto record = Admit();
  ASSERT_TRUE(record.ok()) << record.status();
  const v1::JobSpec& filled = record->job().spec();
  EXPECT_EQ(filled.dataset(), "datasets/text");
  EXPECT_EQ(filled.model().vocab_size(), 256) << "the dataset's 200, padded";
  EXPECT_EQ(filled.model().form(), "modern");
  EXPECT_EQ(filled.training().batch_size(), 16);
  EXPECT_EQ(filled.training().micro_batch_size(), 4);
  EXPECT_EQ(filled.training().schedule().kind(), "cosine");
  EXPECT_EQ(filled.training().schedule().warmup_steps(), 10);
  EXPECT_EQ(filled.training().optimizer().kind(), "adamw");
  EXPECT_EQ(filled.training().optimizer().beta2(), 0.95);
  EXPECT_EQ(filled.training().optimizer().mixer_lr_multiplier(), 1);
  EXPECT_EQ(filled.training().optimizer().muon_learning_rate(), 0.02);
  EXPECT_EQ(filled.training().schedule().decay_ratio(), 0.2);
  EXPECT_EQ(filled.training().propagation(), "auto");
  EXPECT_EQ(filled.training().recompute(), "none");
  EXPECT_TRUE(filled.training().has_sequence_chunk());
  EXPECT_TRUE(filled.training().has_ema_decay());
  EXPECT_EQ(filled.resources().device(), "cpu");
  EXPECT_EQ(filled.resources().world_size(), 1);
  EXPECT_EQ(filled.checkpoint().every_minutes(), 10);
  EXPECT_EQ(filled.checkpoint().keep_last(), 3);
  EXPECT_EQ(filled.restart().max_restarts(), 3);
  EXPECT_TRUE(filled.training().has_max_minutes());
  EXPECT_GT(record->job().parameter_count(), 0);
  EXPECT_GT(record->job().memory_estimate_bytes(), 0);
  EXPECT_EQ(record->job().state(), v1::JOB_STATE_QUEUED);
}

TEST_F(AdmissionTest, UnknownPresetNamesTheNearest) {
  spec().mutable_model()->set_preset("wave-feild-3m");
  ExpectOnly("model.preset", "wave-field-3m");
}

TEST_F(AdmissionTest, MissingPreset) {
  spec().mutable_model()->clear_preset();
  ExpectOnly("model.preset", "is not set");
}

TEST_F(AdmissionTest, UnknownDatasetNamesTheNearest) {
  spec().set_dataset("datasets/texd");
  ExpectOnly("dataset", "did you mean 'text'");
}

TEST_F(AdmissionTest, DatasetWhoseFileIsGone) {
  std::filesystem::remove(directory_.path() / "datasets/text/train");
  ExpectOnly("dataset", "has lost its file");
}

TEST_F(AdmissionTest, DatasetWhoseFileChanged) {
  ASSERT_TRUE(WriteFileAtomically(directory_.path() / "datasets/text/train", "0123").ok());
  ExpectOnly("dataset", "has 4 bytes, catalogued were 10");
}

TEST_F(AdmissionTest, SequenceLongerThanTheDataset) {
  training().set_sequence_length(1000);
  ExpectOnly("training.sequence_length", "has 1000 tokens, so at most 999");
}

TEST_F(AdmissionTest, VocabularySmallerThanTheDatasets) {
  spec().mutable_model()->set_vocab_size(128);
  ExpectOnly("model.vocab_size", "needs at least 200");
}

TEST_F(AdmissionTest, WorldSizeTheClusterCanNeverGive) {
  spec().mutable_resources()->set_world_size(3);
  ExpectOnly("resources.world_size", "is 3; allowed: 1 to 2");
}

TEST_F(AdmissionTest, WithoutWorkersAJobMayWaitForThem) {
  facts_.workers.clear();
  spec().mutable_resources()->set_world_size(16);
  EXPECT_TRUE(Admit().ok());
  spec().mutable_resources()->set_world_size(65);
  training().set_batch_size(260);
  ExpectOnly("resources.world_size", "is 65; allowed: 1 to 64");
}

TEST_F(AdmissionTest, BatchThatDoesNotDivide) {
  training().set_batch_size(10);
  training().set_micro_batch_size(4);
  ExpectOnly("training.micro_batch_size", "does not divide");
}

TEST_F(AdmissionTest, WidthsThatDoNotDivide) {
  spec().mutable_model()->set_n_heads(3);
  const auto details = BadRequestOf(Admit().status());
  ASSERT_GE(details.field_violations_size(), 1);
  EXPECT_THAT(details.field_violations(0).field(), HasSubstr("model."));
}

TEST_F(AdmissionTest, RatesThatAreNoNumbersOrNegative) {
  training().mutable_schedule()->set_learning_rate(std::numeric_limits<double>::quiet_NaN());
  ExpectOnly("training.schedule.learning_rate", "nan");
  training().mutable_schedule()->set_learning_rate(-1);
  ExpectOnly("training.schedule.learning_rate", "-1");
}

TEST_F(AdmissionTest, NegativeWarmupIsNotTakenForTheDefault) {
  training().mutable_schedule()->set_warmup_steps(-1);
  ExpectOnly("training.schedule.warmup_steps", "is -1");
}

TEST_F(AdmissionTest, ARecipeIsTakenAsItIsGiven) {
  training().set_sequence_chunk(7);
  training().set_dropout(0.1);
  training().set_label_smoothing(0.05);
  training().set_z_loss(1e-4);
  training().set_ema_decay(0.999);
  training().mutable_schedule()->set_kind("wsd");
  training().mutable_optimizer()->set_kind("muon");
  training().mutable_optimizer()->set_mixer_lr_multiplier(0.1);
  const v1::TrainingSpec given = training();
  const auto record = Admit();
  ASSERT_TRUE(record.ok()) << record.status();
  v1::TrainingSpec merged = record->job().spec().training();
  merged.MergeFrom(given);  // what was given is what is in force
  EXPECT_EQ(merged.SerializeAsString(), record->job().spec().training().SerializeAsString());
}

TEST_F(AdmissionTest, RecipesOutOfRange) {
  training().set_dropout(1);
  ExpectOnly("training.dropout", "is 1; allowed: 0 to 0.95");
  training().clear_dropout();
  training().set_label_smoothing(1);
  ExpectOnly("training.label_smoothing", "below 1");
  training().clear_label_smoothing();
  training().set_z_loss(-0.1);
  ExpectOnly("training.z_loss", "is -0.1");
  training().clear_z_loss();
  training().set_ema_decay(1);
  ExpectOnly("training.ema_decay", "below 1");
  training().clear_ema_decay();
  training().set_sequence_chunk(-1);
  ExpectOnly("training.sequence_chunk", "is -1");
  training().clear_sequence_chunk();
  training().set_recompute("all");
  ExpectOnly("training.recompute", "'none', 'mixer', 'block'");
  training().clear_recompute();
  training().mutable_optimizer()->set_muon_learning_rate(0);
  ExpectOnly("training.optimizer.muon_learning_rate", "above 0");
  training().mutable_optimizer()->clear_muon_learning_rate();
  training().mutable_optimizer()->set_embedding_lr_multiplier(-1);
  ExpectOnly("training.optimizer.embedding_lr_multiplier", "is -1");
  training().mutable_optimizer()->clear_embedding_lr_multiplier();
  training().mutable_schedule()->set_decay_ratio(1.5);
  ExpectOnly("training.schedule.decay_ratio", "is 1.5");
}

TEST_F(AdmissionTest, SchedulesThatFallNeedAnEnd) {
  training().clear_max_steps();
  training().set_max_minutes(5);
  for (const char* kind : {"cosine", "linear", "wsd"}) {
    training().mutable_schedule()->set_kind(kind);
    ExpectOnly("training.schedule.kind", std::string("'") + kind + "', which needs");
  }
  training().mutable_schedule()->set_kind("constant");
  EXPECT_TRUE(Admit().ok());
}

TEST_F(AdmissionTest, APropagationThatTheFormDoesNotKnowNamesThoseItKnows) {
  training().set_propagation("fft");
  ExpectOnly("training.propagation", "is 'fft'; allowed: 'auto', 'chunked', 'direct'");
  spec().mutable_model()->set_deposit("elementwise");
  ExpectOnly("training.propagation", "is 'fft'; allowed: 'auto', 'recurrence', 'direct'");
  spec().mutable_model()->set_damping("static");
  EXPECT_TRUE(Admit().ok());
  training().set_sequence_chunk(16);
  ExpectOnly("training.sequence_chunk", "carries no state");
}

TEST_F(AdmissionTest, NoBudget) {
  training().clear_max_steps();
  ExpectOnly("training.max_steps", "set at least one");
}

TEST_F(AdmissionTest, MemoryBeyondTheSlots) {
  facts_.workers[0].set_memory_per_slot(1 << 20);
  ExpectOnly("training.micro_batch_size", "the largest cpu slot has 0.00 GiB");
}

TEST_F(AdmissionTest, DeviceThatNobodyKnows) {
  spec().mutable_resources()->set_device("tpu");
  ExpectOnly("resources.device", "'tpu', which is not offered by any worker; allowed: cpu, cuda");
}

TEST_F(AdmissionTest, ACudaJobIsTakenBeforeThereIsAGpuAndTrainsInBf16) {
  EXPECT_EQ(Admit()->job().spec().training().precision(), "fp32") << "on the CPU";
  spec().mutable_resources()->set_device("cuda");
  spec().mutable_resources()->set_world_size(8);
  const auto record = Admit();
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->job().spec().training().precision(), "bf16");
  training().set_precision("fp32");
  EXPECT_EQ(Admit()->job().spec().training().precision(), "fp32");
  spec().mutable_resources()->set_device("cpu");
  spec().mutable_resources()->set_world_size(1);
  training().set_precision("bf16");
  ExpectOnly("training.precision", "'cuda' only");
}

TEST_F(AdmissionTest, ACudaJobIsMeasuredByTheGpus) {
  spec().mutable_resources()->set_device("cuda");
  AddGpu(4, int64_t{80} << 30);
  AddGpu(-1, int64_t{80} << 30);
  EXPECT_TRUE(Admit().ok());
  spec().mutable_resources()->set_world_size(2);
  ExpectOnly("resources.world_size", "is 2; allowed: 1 to 1 (the cuda slots of all workers)");
  spec().mutable_resources()->set_world_size(1);
  facts_.workers[0].mutable_gpus(0)->set_memory_bytes(1 << 20);
  ExpectOnly("training.micro_batch_size", "the largest cuda slot has 0.00 GiB");
}

TEST_F(AdmissionTest, OddFields) {
  spec().mutable_resources()->set_min_world_size(1);
  ExpectOnly("resources.min_world_size", "allowed: 0");
  spec().mutable_resources()->clear_min_world_size();
  (*spec().mutable_labels())["team"] = "a b";
  ExpectOnly("labels", "'a b'");
  spec().clear_labels();
  spec().set_priority(1001);
  ExpectOnly("priority", "allowed: -1000 to 1000");
  spec().clear_priority();
  request_.set_job_id("Not An Id");
  ExpectOnly("job_id", "[a-z][a-z0-9-]{0,62}");
}

TEST_F(AdmissionTest, UnknownFormNamesThoseThereAre) {
  spec().mutable_model()->set_form("modren");
  ExpectOnly("model.form", "did you mean 'modern'");
}

TEST_F(AdmissionTest, EverythingWrongIsToldAtOnce) {
  spec().mutable_model()->set_preset("nothing-like-it");
  spec().set_dataset("missing");
  spec().mutable_resources()->set_world_size(99);
  training().mutable_optimizer()->set_beta1(2);
  training().mutable_optimizer()->set_kind("sgd");
  spec().set_priority(-5000);
  const absl::Status status = Admit().status();
  std::set<std::string> fields;
  const auto details = BadRequestOf(status);
  for (const auto& violation : details.field_violations()) fields.insert(violation.field());
  EXPECT_THAT(fields, testing::IsSupersetOf({"model.preset", "dataset", "resources.world_size",
                                             "training.optimizer.beta1", "training.optimizer.kind",
                                             "priority"}));
}

TEST(Violations, FitIntoATrailerHoweverManyThereAre) {
  std::vector<FieldViolation> violations;
  for (int i = 0; i < 1000; ++i) violations.push_back({"field", std::string(200, 'x')});
  const absl::Status status = ViolationsToStatus(violations);
  const grpc::Status on_the_wire = ToGrpcStatus(status);
  EXPECT_LT(on_the_wire.error_details().size() * 4 / 3 + on_the_wire.error_message().size(), 8000u);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000 things are wrong"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("more"));
}

}  // namespace
}  // namespace wavefield::coordinator
