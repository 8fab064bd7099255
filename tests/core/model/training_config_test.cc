#include "core/model/config/training_config.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace wavefield {
namespace {

// A spec as it was written before there were recipes, with protobuf's strings for 64-bit integers.
nlohmann::json OldSpec() {
  return nlohmann::json::parse(R"({
    "training": {
      "sequence_length": 64, "batch_size": 16, "micro_batch_size": 4, "max_steps": "100",
      "max_minutes": 0, "seed": "7",
      "schedule": {"kind": "cosine", "learning_rate": 0.002, "warmup_steps": "10",
                   "final_ratio": 0.1},
      "optimizer": {"kind": "adamw", "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8,
                    "weight_decay": 0.1, "clip_grad_norm": 1}
    },
    "checkpoint": {"every_steps": "0", "every_minutes": 10, "keep_last": 3},
    "evaluation": {"every_steps": "0", "max_tokens": "65536"}
  })");
}

std::set<std::string> Fields(const std::vector<FieldViolation>& violations) {
  std::set<std::string> fields;
  for (const FieldViolation& violation : violations) fields.insert(violation.field);
  return fields;
}

TEST(TrainingConfig, SpecsOfEarlierVersionsTakeTheDefaults) {
  const auto config = TrainingConfigFromSpec(OldSpec());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->seed, 7u);
  EXPECT_EQ(config->precision, "fp32");
  EXPECT_EQ(config->propagation, "auto");
  EXPECT_EQ(config->recompute, "none");
  EXPECT_EQ(config->sequence_chunk, 0);
  EXPECT_EQ(config->dropout, 0);
  EXPECT_EQ(config->label_smoothing, 0);
  EXPECT_EQ(config->z_loss, 0);
  EXPECT_EQ(config->ema_decay, 0);
  EXPECT_EQ(config->mixer_lr_multiplier, 1);
  EXPECT_EQ(config->embedding_lr_multiplier, 1);
  EXPECT_TRUE(Validate(*config, 1).empty());
}

TEST(TrainingConfig, EveryFieldOfARecipeIsRead) {
  nlohmann::json spec = OldSpec();
  spec["training"].update({{"precision", "bf16"},
                           {"propagation", "fft"},
                           {"recompute", "block"},
                           {"sequence_chunk", 48},
                           {"dropout", 0.1},
                           {"label_smoothing", 0.2},
                           {"z_loss", 0.001},
                           {"ema_decay", 0.99}});
  spec["training"]["schedule"].update({{"kind", "wsd"}, {"decay_ratio", 0.3}});
  spec["training"]["optimizer"].update({{"kind", "muon"},
                                        {"muon_learning_rate", 0.03},
                                        {"mixer_lr_multiplier", 0.5},
                                        {"embedding_lr_multiplier", 2}});
  const auto config = TrainingConfigFromSpec(spec);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->schedule, "wsd");
  EXPECT_EQ(config->decay_ratio, 0.3);
  EXPECT_EQ(config->optimizer, "muon");
  EXPECT_EQ(config->muon_learning_rate, 0.03);
  EXPECT_EQ(config->mixer_lr_multiplier, 0.5);
  EXPECT_EQ(config->embedding_lr_multiplier, 2);
  EXPECT_EQ(config->ema_decay, 0.99);
  const ExecutionOptions options = ExecutionOf(*config);
  EXPECT_EQ(options.activations, DType::kBFloat16);
  EXPECT_EQ(options.propagation, Propagation::kFft);
  EXPECT_EQ(options.recompute, Recompute::kBlock);
  EXPECT_EQ(options.sequence_chunk, 48);
  EXPECT_EQ(options.dropout, 0.1f);
  EXPECT_EQ(options.loss.label_smoothing, 0.2f);
  EXPECT_EQ(options.loss.z_loss, 0.001f);
}

TEST(TrainingConfig, AFieldOfTheWrongKindIsRefused) {
  nlohmann::json spec = OldSpec();
  spec["training"]["dropout"] = "much";
  EXPECT_EQ(TrainingConfigFromSpec(spec).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TrainingConfig, OutOfRangeIsNamedByItsField) {
  TrainingConfig config;
  config.max_steps = 100;
  FillDefaults(config, 1);
  ASSERT_TRUE(Validate(config, 1).empty());
  config.precision = "fp64";
  config.propagation = "magic";
  config.recompute = "some";
  config.sequence_chunk = -1;
  config.dropout = 0.96;
  config.label_smoothing = 1;
  config.z_loss = 2;
  config.ema_decay = 1;
  config.schedule = "triangle";
  config.decay_ratio = 0;
  config.optimizer = "sgd";
  config.muon_learning_rate = -1;
  config.mixer_lr_multiplier = -1;
  config.embedding_lr_multiplier = 1e9;
  EXPECT_EQ(Fields(Validate(config, 1)),
            (std::set<std::string>{
                "training.precision", "training.propagation", "training.recompute",
                "training.sequence_chunk", "training.dropout", "training.label_smoothing",
                "training.z_loss", "training.ema_decay", "training.schedule.kind",
                "training.schedule.decay_ratio", "training.optimizer.kind",
                "training.optimizer.muon_learning_rate", "training.optimizer.mixer_lr_multiplier",
                "training.optimizer.embedding_lr_multiplier"}));
}

TEST(TrainingConfig, BFloat16IsForGpusAlone) {
  TrainingConfig config;
  EXPECT_EQ(ExecutionOf(config).activations, DType::kFloat32);
  EXPECT_TRUE(ValidateDevice(config, "cpu").empty());
  config.precision = "bf16";
  EXPECT_TRUE(ValidateDevice(config, "cuda").empty());
  const auto violations = ValidateDevice(config, "cpu");
  EXPECT_EQ(Fields(violations), std::set<std::string>{"training.precision"});
  EXPECT_EQ(violations.at(0).description, "is 'bf16', allowed with device 'cuda' only; use 'fp32'");
}

TEST(TrainingConfig, AnAttentionModelKnowsNoWayOfPropagation) {
  TrainingConfig config;
  const ModelConfig attention = *FindPreset("transformer-test");
  EXPECT_TRUE(ValidateTogether(config, attention).empty());
  config.propagation = "chunked";
  EXPECT_EQ(Fields(ValidateTogether(config, attention)),
            std::set<std::string>{"training.propagation"});
  EXPECT_TRUE(ValidateTogether(config, *FindPreset("wave-field-test")).empty());
}

}  // namespace
}  // namespace wavefield
