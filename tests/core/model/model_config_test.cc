#include "core/model/config/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/model/accounting.h"
#include "core/model/config/training_config.h"

namespace wavefield {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;

// The table of docs/model.md.
TEST(Presets, HaveTheDocumentedParameterCounts) {
  const std::pair<const char*, int64_t> documented[] = {
      {"wave-field-3m", 2719752},     {"wave-field-7m", 7046568},
      {"wave-field-30m", 29309968},   {"wave-field-124m", 123847536},
      {"wave-field-350m", 357490816}, {"wave-field-825m", 825549504},
      {"wave-field-1b5", 1495920896}};
  for (const auto& [name, count] : documented) {
    const auto config = FindPreset(name);
    ASSERT_TRUE(config.ok()) << name;
    EXPECT_EQ(ParameterCount(*config), count) << name;
    EXPECT_TRUE(Validate(*config, "").empty()) << name;
  }
}

TEST(Presets, OfOneSizeHaveEqualParametersWithinAPerCent) {
  int compared = 0;
  for (const Preset& preset : Presets()) {
    EXPECT_TRUE(Validate(preset.config, "").empty()) << preset.name;
    const std::string size = preset.name.substr(preset.name.rfind('-'));
    if (size == "-test") continue;
    const auto field = FindPreset("wave-field" + size);
    const double count = static_cast<double>(ParameterCount(*field));
    EXPECT_NEAR(static_cast<double>(ParameterCount(preset.config)), count, 0.01 * count)
        << preset.name;
    ++compared;
  }
  EXPECT_GE(compared, 21);
}

TEST(Presets, UnknownNameSuggestsTheNearest) {
  const auto missing = FindPreset("wave-feild-3m");
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("'wave-field-3m'"));
}

TEST(ModelConfig, SurvivesJson) {
  const ModelConfig config = *FindPreset("wave-field-7m");
  EXPECT_EQ(*ModelConfigFromJson(ToJson(config)), config);
}

TEST(ModelConfig, UnknownKeyIsNamedWithTheNearest) {
  nlohmann::json json = ToJson(*FindPreset("wave-field-3m"));
  json["n_head"] = 3;
  const auto parsed = ModelConfigFromJson(json);
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("'n_heads'"));
}

TEST(ModelConfig, EveryViolationIsReportedAtOnce) {
  ModelConfig config = *FindPreset("wave-field-3m");
  config.n_heads = 5;
  config.vocab_size = 100;
  config.form = "modem";
  config.conv_width = 0;
  config.attention_layers = {4};
  const auto violations = Validate(config, "model.");
  for (const char* field : {"model.n_heads", "model.vocab_size", "model.form", "model.conv_width",
                            "model.attention_layers"}) {
    EXPECT_THAT(violations, Contains(Field(&FieldViolation::field, field))) << field;
  }
}

ModelConfig Wide(const char* preset, int64_t width, int64_t heads) {
  ModelConfig config = *FindPreset(preset);
  config.d_model = width;
  config.n_heads = heads;
  EXPECT_TRUE(Validate(config, "").empty());
  EXPECT_TRUE(ValidateDevice(config, "cpu").empty());
  return config;
}

TEST(ValidateDevice, EveryPresetIsComputedByAGpu) {
  for (const Preset& preset : Presets()) {
    const auto violations = ValidateDevice(preset.config, "cuda");
    EXPECT_TRUE(violations.empty()) << preset.name << ": " << violations[0].description;
  }
}

TEST(ValidateDevice, AttentionHeadsThatAreTooWideForAGpuAreRefused) {
  EXPECT_TRUE(ValidateDevice(Wide("transformer-124m", 768, 6), "cuda").empty());
  const auto violations = ValidateDevice(Wide("transformer-124m", 780, 5), "cuda");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "model.n_heads");
  EXPECT_EQ(violations[0].description,
            "is 5, which makes heads of width 156; on device 'cuda' attention has heads of at most "
            "128: set n_heads to 10, or resources.device to 'cpu'");
  ModelConfig hybrid = Wide("wave-field-124m", 768, 4);
  EXPECT_TRUE(ValidateDevice(hybrid, "cuda").empty());
  hybrid.attention_layers = {1};
  EXPECT_EQ(ValidateDevice(hybrid, "cuda").size(), 1u);
}

// The widest row that fits 163 KiB, and one more.
TEST(ValidateDevice, RowsThatDoNotFitABlocksMemoryAreRefused) {
  EXPECT_TRUE(ValidateDevice(Wide("transformer-124m", 41664, 41664 / 56), "cuda").empty());
  auto violations = ValidateDevice(Wide("transformer-124m", 41666, 20833), "cuda");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "model.d_model");
  EXPECT_EQ(violations[0].description,
            "is 41666 with 20833 heads: on device 'cuda' the RMS norm needs 164 KiB of a block's "
            "shared memory, and GPUs have 163; make d_model or n_heads smaller, or set "
            "resources.device to 'cpu'");

  EXPECT_TRUE(ValidateDevice(Wide("wave-field-124m", 8192, 64), "cuda").empty());
  violations = ValidateDevice(Wide("wave-field-124m", 8192, 128), "cuda");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, HasSubstr("reading the fields needs 258 KiB"));

  EXPECT_TRUE(ValidateDevice(Wide("wave-field-v4-test", 20832, 7), "cuda").empty());
  violations = ValidateDevice(Wide("wave-field-v4-test", 20836, 1), "cuda");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, HasSubstr("the layer norm needs 164 KiB"));
  violations = ValidateDevice(Wide("wave-field-v4-test", 1024, 256), "cuda");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, HasSubstr("the coupled read needs 266 KiB"));
}

TEST(TrainingConfig, NotANumberAndNegativeRatesAreRefused) {
  for (const double rate : {std::nan(""), -1e-3, 0.0, std::numeric_limits<double>::infinity()}) {
    TrainingConfig config;
    config.max_steps = 10;
    config.learning_rate = rate;
    FillDefaults(config, 1);
    EXPECT_THAT(Validate(config, 1),
                Contains(Field(&FieldViolation::field, "training.schedule.learning_rate")))
        << rate;
  }
}

TEST(TrainingConfig, BatchMustGiveEveryRankAMicroBatch) {
  TrainingConfig config;
  config.max_steps = 10;
  config.batch_size = 4;
  config.micro_batch_size = 4;
  FillDefaults(config, 2);
  EXPECT_THAT(Validate(config, 2), Contains(Field(&FieldViolation::field, "training.batch_size")));
  EXPECT_EQ(DefaultMicroBatchSize(4, 2), 2);
  EXPECT_EQ(DefaultMicroBatchSize(7, 2), 1);
  EXPECT_EQ(DefaultMicroBatchSize(16, 1), 4);
}

}  // namespace
}  // namespace wavefield
