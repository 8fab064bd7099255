// The example of CONTRIBUTING.md, "Add a mixer", built as a reader would build it, and a mixer that
// sees the future.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "core/model/causality.h"
#include "core/model/config/training_config.h"
#include "core/model/model.h"
#include "docs/examples/running_mean/running_mean.h"
#include "tests/core/model/form_laws.h"
#include "tests/core/model/leaky_mixer.h"
#include "tests/support/random_inputs.h"

namespace wavefield {

// In place of core/model/mixers/mixers.cc.
std::span<const MixerKind* const> Mixers() {
  static const RunningMeanKind running_mean;
  static const testing::LeakyKind leaky;
  static const std::array<const MixerKind*, 2> mixers = {&running_mean, &leaky};
  return mixers;
}

namespace {

using testing::FreshSeed;
using testing::RandomIds;

ModelConfig Small(const std::string& form) {
  ModelConfig config;
  config.form = form;
  config.d_model = 32;
  config.n_layers = 2;
  config.n_heads = 2;
  config.d_ff = 24;
  config.vocab_size = 64;
  return config;
}

CausalityAudit Audit(const std::string& form) {
  const uint64_t seed = FreshSeed();
  std::mt19937_64 random(seed);
  const auto backend = MakeCpuBackend(2);
  Model model(*backend, Small(form));
  model.Initialize(seed);
  const std::vector<std::vector<int32_t>> windows = {RandomIds(random, 100, 64),
                                                     RandomIds(random, 70, 64)};
  return AuditCausality(model, windows, {.seed = seed});
}

TEST(ExampleMixer, IsKnownByItsForm) {
  EXPECT_TRUE(Validate(Small("running_mean"), "").empty());
  const auto violations = Validate(Small("running_meen"), "");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, ::testing::HasSubstr("'running_mean'"));
}

TEST(ExampleMixer, IsRefusedOnADeviceThatDoesNotComputeIt) {
  const auto violations = ValidateDevice(Small("running_mean"), "cuda");
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "resources.device");
  EXPECT_THAT(violations[0].description, ::testing::HasSubstr("'running_mean' of layer 0"));
  EXPECT_TRUE(ValidateDevice(Small("running_mean"), "cpu").empty());
}

TEST(ExampleMixer, ObeysTheLawsOfEveryForm) { testing::ExpectFormLaws(Small("running_mean")); }

TEST(CausalityAudit, PassesAnHonestMixer) {
  const CausalityAudit audit = Audit("running_mean");
  EXPECT_TRUE(audit.passed());
  EXPECT_EQ(audit.training_leak.difference, 0);
  EXPECT_EQ(audit.changes, 16);
}

TEST(CausalityAudit, FindsAPlantedLeakAndSaysWhere) {
  const CausalityAudit audit = Audit("leaky");
  EXPECT_FALSE(audit.passed());
  EXPECT_GT(audit.training_leak.difference, 0);
  EXPECT_LT(audit.training_leak.token, audit.training_leak.changed_token);
  // Token by token there is no future to see: the two modes cannot agree.
  EXPECT_EQ(audit.generation_leak.difference, 0);
  EXPECT_GT(audit.disagreement.difference, audit.allowed_disagreement);
}

}  // namespace
}  // namespace wavefield
