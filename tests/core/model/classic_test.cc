// The classic form, whose models have more than mixers of their own.

#include <gtest/gtest.h>

#include <numbers>
#include <string>
#include <vector>

#include "core/model/accounting.h"
#include "core/model/model.h"
#include "tests/core/model/form_laws.h"

namespace wavefield {
namespace {

// Of four layers: an interference stands between the third and the fourth.
ModelConfig SmallConfig(int64_t heads, int64_t head_dim, int64_t layers = 4) {
  ModelConfig config;
  config.form = "classic";
  config.damping = "static";
  config.deposit = "elementwise";
  config.d_model = heads * head_dim;
  config.n_layers = layers;
  config.n_heads = heads;
  config.d_ff = 24;
  config.vocab_size = 64;
  return config;
}

class ClassicShapes : public ::testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(ClassicShapes, GradientsAgreeWithFiniteDifferencesOfTheReference) {
  const auto [heads, head_dim] = GetParam();
  for (const int64_t tokens : {1, 9, 40}) {
    SCOPED_TRACE(tokens);
    testing::ExpectFiniteDifferences(SmallConfig(heads, head_dim), tokens);
  }
}

INSTANTIATE_TEST_SUITE_P(Heads, ClassicShapes,
                         ::testing::Values(std::tuple(2, 8), std::tuple(1, 8), std::tuple(3, 4)));

class ClassicWays : public ::testing::TestWithParam<Propagation> {};

TEST_P(ClassicWays, CpuAgreesWithTheReference) {
  testing::ExpectCpuAgreesWithReference(SmallConfig(3, 12), {.propagation = GetParam()});
}
TEST_P(ClassicWays, ChangingATokenChangesNoBitOfEarlierLogits) {
  testing::ExpectCausality(SmallConfig(2, 16), {.propagation = GetParam()});
}

INSTANTIATE_TEST_SUITE_P(Ways, ClassicWays,
                         ::testing::Values(Propagation::kRecurrence, Propagation::kFft,
                                           Propagation::kDirect));

TEST(Classic, PiecesWithCarriedStateGiveTheGradientsOfTheWhole) {
  for (const int64_t piece : {1, 40, 75, 149}) {
    SCOPED_TRACE(piece);
    testing::ExpectPieces(SmallConfig(2, 16), piece);
  }
}

TEST(Classic, ContinuingFromStateGivesTheLogitsOfTheWhole) {
  testing::ExpectContinuation(SmallConfig(2, 16, 6));
}

TEST(Classic, RecomputationChangesNoBit) { testing::ExpectRecomputation(SmallConfig(2, 16)); }

TEST(Classic, TheSecondPassAllocatesNothing) {
  testing::ExpectNoFurtherAllocation(SmallConfig(2, 16));
}

TEST(Classic, AnAttentionLayerMayStandAmongTheFields) {
  ModelConfig config = SmallConfig(2, 8);
  config.attention_layers = {1};
  testing::ExpectFiniteDifferences(config, 9);
  testing::ExpectContinuation(config);
}

TEST(Classic, StateIsTheFieldsAndTheSumsOfTheInterferences) {
  const ModelConfig config = SmallConfig(2, 16, 6);
  int64_t carry = 0, history = 0;
  for (const BranchDescription& branch : Branches(config)) {
    carry += branch.kind->State(config).carry;
    history += branch.kind->State(config).history;
  }
  EXPECT_EQ(carry, 6 * 2 * 32 + 2 * 32 / 4);
  EXPECT_EQ(history, 0);
}

TEST(Classic, InterferenceFollowsEveryThirdLayer) {
  const auto count = [&](int64_t layers) {
    int64_t found = 0;
    for (const auto& p : DescribeParameters(SmallConfig(2, 8, layers))) {
      found += p.name.ends_with("compress.weight");
    }
    return found;
  };
  EXPECT_EQ(count(2), 0);
  EXPECT_EQ(count(3), 1);
  EXPECT_EQ(count(5), 1);
  EXPECT_EQ(count(6), 2);
}

TEST(Classic, InitialValuesAreTheDocumentedOnes) {
  const auto backend = MakeCpuBackend(1);
  const ModelConfig config = SmallConfig(4, 4, 7);
  Model model(*backend, config);
  model.Initialize(3);
  const auto view = [&](const char* name) { return model.layout().View(model.parameters(), name); };
  for (const char* name : {"layers.2.mixer.psi_q.0.weight", "layers.2.mixer.psi_k.1.weight",
                           "layers.2.mixer.cross.weight"}) {
    for (int i = 0; i < 16; ++i) EXPECT_EQ(view(name).f32()[i], i % 5 == 0 ? 1 : 0) << name;
  }
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(view("layers.0.mixer.qkvg.bias").f32()[i], i >= 48 ? 2 : 0);
  }
  for (int h = 0; h < 4; ++h) {
    EXPECT_FLOAT_EQ(view("layers.3.mixer.damping.bias").f32()[h], -0.69f);
    EXPECT_FLOAT_EQ(view("layers.3.mixer.frequency").f32()[h],
                    static_cast<float>(std::numbers::pi * (2 * h + 1) / 8 * 0.5));
  }
  EXPECT_EQ(view("interference.0.temperature").f32()[0], -2);
  EXPECT_EQ(view("interference.1.temperature").f32()[0], 0.5f);
  EXPECT_EQ(view("norm.bias").f32()[0], 0);
  EXPECT_EQ(view("norm.weight").f32()[0], 1);
}

TEST(Classic, PresetsHaveAboutTheParametersOfTheWaveField) {
  for (const std::string size : {"3m", "7m", "30m", "124m", "825m"}) {
    const auto classic = FindPreset("wave-field-v4-" + size),
               modern = FindPreset("wave-field-" + size);
    ASSERT_TRUE(classic.ok() && modern.ok()) << size;
    EXPECT_TRUE(Validate(*classic, "").empty()) << size;
    const auto expected = static_cast<double>(ParameterCount(*modern));
    EXPECT_NEAR(static_cast<double>(ParameterCount(*classic)), expected, 0.01 * expected) << size;
  }
}

TEST(Classic, OtherDampingDepositsAndWidthsAreRefused) {
  const auto fields = [](ModelConfig config) {
    std::vector<std::string> names;
    for (const auto& violation : Validate(config, "")) names.push_back(violation.field);
    return names;
  };
  ModelConfig config = SmallConfig(3, 2);
  config.damping = "selective";
  config.deposit = "outer";
  EXPECT_EQ(fields(config), (std::vector<std::string>{"damping", "deposit", "d_model"}));
  EXPECT_TRUE(fields(SmallConfig(2, 2)).empty());
}

}  // namespace
}  // namespace wavefield
