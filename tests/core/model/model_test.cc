// What holds for every form of the model.
#include "core/model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/core/model/form_laws.h"
#include "tests/core/model/forms.h"

namespace wavefield {
namespace {

using testing::Form;
using testing::Forms;
using testing::FormsAndWays;

const auto kName = [](const auto& info) { return info.param.name; };

class Gradients : public ::testing::TestWithParam<Form> {};

TEST_P(Gradients, AgreeWithFiniteDifferencesOfTheReference) {
  testing::ExpectFiniteDifferences(GetParam().config, 9);
}
TEST_P(Gradients, AgreeForOneTokenAndAcrossChunks) {
  testing::ExpectFiniteDifferences(GetParam().config, 1);
  testing::ExpectFiniteDifferences(GetParam().config, 70);
}
INSTANTIATE_TEST_SUITE_P(TwoHeads, Gradients, ::testing::ValuesIn(Forms(2, 4)), kName);
INSTANTIATE_TEST_SUITE_P(OneHead, Gradients, ::testing::ValuesIn(Forms(1, 8)), kName);

class EveryWay : public ::testing::TestWithParam<Form> {};

TEST_P(EveryWay, CpuAgreesWithTheReference) {
  testing::ExpectCpuAgreesWithReference(GetParam().config, GetParam().options);
}
TEST_P(EveryWay, ChangingATokenChangesNoBitOfEarlierLogits) {
  testing::ExpectCausality(GetParam().config, GetParam().options);
}
INSTANTIATE_TEST_SUITE_P(ThreeHeads, EveryWay, ::testing::ValuesIn(FormsAndWays(3, 16)), kName);

class EveryForm : public ::testing::TestWithParam<Form> {};

TEST_P(EveryForm, ContinuingFromStateGivesTheLogitsOfTheWhole) {
  testing::ExpectContinuation(GetParam().config);
}
TEST_P(EveryForm, PiecesWithCarriedStateGiveTheGradientsOfTheWhole) {
  for (const int64_t piece : {40, 75, 149, 150, 1000}) {
    SCOPED_TRACE(piece);
    testing::ExpectPieces(GetParam().config, piece);
  }
}
TEST_P(EveryForm, PiecesOfOneTokenDoToo) { testing::ExpectPieces(GetParam().config, 1); }
TEST_P(EveryForm, RecomputationChangesNoBit) { testing::ExpectRecomputation(GetParam().config); }
TEST_P(EveryForm, GradientsAreToldOnceAndChangeNoMore) {
  testing::ExpectFinalGradientsAreTold(GetParam().config);
}
TEST_P(EveryForm, TheSecondPassAllocatesNothing) {
  testing::ExpectNoFurtherAllocation(GetParam().config);
}
INSTANTIATE_TEST_SUITE_P(TwoHeads, EveryForm, ::testing::ValuesIn(Forms(2, 16)), kName);

TEST(SequenceState, OnlyAttentionLayersMakeItGrow) {
  const auto backend = MakeCpuBackend(1);
  for (const Form& form : Forms(2, 16)) {
    Model model(*backend, form.config);
    model.Initialize(1);
    SequenceState state(*backend, form.config);
    const size_t empty = state.bytes();
    model.Continue(state, std::vector<int32_t>(1000, 1));
    const bool attends = form.config.form == "attention" || !form.config.attention_layers.empty();
    EXPECT_EQ(state.bytes() > empty, attends) << form.name;
    if (form.name == "selective_outer") {
      EXPECT_EQ(empty, form.config.n_layers * (3 * 3 * 32 + 2 * 2 * 16 * 16) * sizeof(float));
    }
  }
}

TEST(Initialization, IsTheDocumentedOne) {
  const auto one = MakeCpuBackend(1), three = MakeCpuBackend(3);
  const ModelConfig config = *FindPreset("wave-field-3m");
  Model a(*one, config), b(*three, config);
  a.Initialize(7);
  b.Initialize(7);
  EXPECT_EQ(std::memcmp(a.parameters().data, b.parameters().data, a.parameters().bytes()), 0);

  const auto view = [&](const char* name) { return a.layout().View(a.parameters(), name); };
  // τ = 2, 45.25, 1024 tokens.
  for (int h = 0; h < 3; ++h) {
    const double tau = 2 * std::pow(512.0, h / 2.0);
    const double bias = view("layers.1.mixer.damping.bias").f32()[h];
    EXPECT_NEAR(std::log1p(std::exp(bias)), 1 / tau, 1e-6);
    EXPECT_NEAR(view("layers.1.mixer.frequency").f32()[h],
                (h + 0.5) / 3 * 0.5 / std::sqrt(2 * std::pow(512.0, (2 - h) / 2.0)), 1e-6);
  }
  EXPECT_FLOAT_EQ(view("layers.0.mixer.coupling").f32()[0], std::log(18.0f));
  EXPECT_EQ(view("layers.0.mixer.coupling").f32()[1], 0);
  const auto deviation = [](Tensor t) {
    double sum = 0;
    for (int64_t i = 0; i < t.elements(); ++i) sum += std::pow(t.f32()[i], 2);
    return std::sqrt(sum / static_cast<double>(t.elements()));
  };
  EXPECT_NEAR(deviation(view("embedding.weight")), 0.02, 2e-4);
  EXPECT_NEAR(deviation(view("layers.3.mixer.out.weight")), 0.02 / std::sqrt(8.0), 2e-4);
  for (int64_t i = 0; i < view("layers.0.mixer.conv.weight").elements(); ++i) {
    EXPECT_LE(std::abs(view("layers.0.mixer.conv.weight").f32()[i]), 0.5f);
  }
}

}  // namespace
}  // namespace wavefield
