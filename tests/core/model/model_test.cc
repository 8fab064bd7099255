#include "core/model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "tests/support/gradient_checker.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::RandomIds;

ModelConfig SmallConfig(int64_t heads, int64_t head_dim) {
  ModelConfig config;
  config.d_model = heads * head_dim;
  config.n_layers = 2;
  config.n_heads = heads;
  config.d_ff = 24;
  config.vocab_size = 64;
  return config;
}

// Away from the initial values, where several gradients are tiny or zero.
void Perturb(Model& model, std::mt19937_64& random) {
  std::normal_distribution<float> normal(0, 1);
  for (const ParameterInfo& info : model.layout().parameters()) {
    const Tensor t = model.layout().View(model.parameters(), info);
    const bool matrix = info.shape.rank() == 2 && info.decays;
    for (int64_t i = 0; i < t.elements(); ++i)
      t.f32()[i] += normal(random) * (matrix ? 0.15f : 0.2f);
  }
}

class ModelGradients : public ::testing::TestWithParam<std::tuple<int, int, int>> {};

TEST_P(ModelGradients, AgreeWithFiniteDifferencesOfTheReference) {
  const auto [heads, head_dim, tokens] = GetParam();
  const uint64_t seed = FreshSeed();
  std::mt19937_64 random(seed);
  const auto backend = MakeReferenceBackend();
  Model model(*backend, SmallConfig(heads, head_dim));
  model.Initialize(seed);
  Perturb(model, random);
  const int64_t batch = 2;
  const auto ids = RandomIds(random, batch * tokens, 64);
  auto targets = RandomIds(random, batch * tokens, 64);
  if (targets.size() > 2) targets[1] = -1;

  model.ZeroGradients();
  model.Forward(batch, ids);
  const LossSums sums = model.Backward(targets, 1.0f);
  const auto loss = [&] { return model.Evaluate(batch, ids, targets).loss; };
  EXPECT_NEAR(loss(), sums.loss, 1e-4 * sums.loss);

  // Activations are fp32 in every backend, which moves the summed loss by about 1e-6 of itself; a
  // movement of 0.01 nats keeps both that and curvature below a few per cent of the difference.
  const double rounding = 4e-6 * sums.loss;
  for (const ParameterInfo& info : model.layout().parameters()) {
    const auto check =
        testing::CheckAlongGradient(model.layout().View(model.parameters(), info),
                                    model.layout().View(model.gradients(), info), loss, 0.01, 0.03);
    EXPECT_NEAR(check.analytic, check.numeric, 0.05 * std::abs(check.analytic) + rounding)
        << info.name;
    if (heads > 1 && tokens > 1) {
      EXPECT_NE(check.analytic, 0) << info.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ModelGradients,
                         ::testing::Values(std::tuple(2, 4, 9), std::tuple(1, 8, 5),
                                           std::tuple(3, 4, 70), std::tuple(2, 8, 1)));

TEST(Model, CpuGradientsAgreeWithTheReference) {
  const uint64_t seed = FreshSeed();
  std::mt19937_64 random(seed);
  const ModelConfig config = SmallConfig(3, 16);
  const auto reference = MakeReferenceBackend();
  const auto cpu = MakeCpuBackend(2);
  Model expected(*reference, config), actual(*cpu, config);
  expected.Initialize(seed);
  Perturb(expected, random);
  std::memcpy(actual.parameters().data, expected.parameters().data, expected.parameters().bytes());
  const int64_t batch = 2, tokens = 150;
  const auto ids = RandomIds(random, batch * tokens, 64),
             targets = RandomIds(random, batch * tokens, 64);
  LossSums losses[2];
  int i = 0;
  for (Model* model : {&expected, &actual}) {
    model->ZeroGradients();
    model->Forward(batch, ids);
    losses[i++] = model->Backward(targets, 1.0f / (batch * tokens));
  }
  EXPECT_NEAR(losses[0].loss, losses[1].loss, 1e-5 * losses[0].loss);
  for (const ParameterInfo& info : expected.layout().parameters()) {
    const Tensor a = expected.layout().View(expected.gradients(), info);
    const Tensor b = actual.layout().View(actual.gradients(), info);
    double difference = 0, norm = 0;
    for (int64_t k = 0; k < a.elements(); ++k) {
      difference += std::pow(a.f32()[k] - b.f32()[k], 2);
      norm += std::pow(a.f32()[k], 2);
    }
    // fp32 rounding through two layers.
    EXPECT_LT(std::sqrt(difference), 2e-4 * std::sqrt(norm) + 1e-9) << info.name;
  }
}

TEST(Model, ChangingATokenChangesNoBitOfEarlierLogits) {
  const uint64_t seed = FreshSeed();
  std::mt19937_64 random(seed);
  const auto backend = MakeCpuBackend(2);
  Model model(*backend, SmallConfig(2, 16));
  model.Initialize(seed);
  Perturb(model, random);
  const int64_t tokens = 200;
  auto ids = RandomIds(random, tokens, 64);
  const auto hidden = [&] {
    // Losses per position, one evaluation each, would hide rows; the targets select one row.
    std::vector<double> losses;
    for (int64_t t = 0; t < tokens; t += 7) {
      std::vector<int32_t> targets(static_cast<size_t>(tokens), -1);
      targets[static_cast<size_t>(t)] = 5;
      losses.push_back(model.Evaluate(1, ids, targets).loss);
    }
    return losses;
  };
  const auto before = hidden();
  const int64_t changed = 100;
  ids[changed] = (ids[changed] + 1) % 64;
  const auto after = hidden();
  int moved = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    if (static_cast<int64_t>(i) * 7 < changed) {
      EXPECT_EQ(before[i], after[i]) << "position " << i * 7;
    } else {
      moved += before[i] != after[i];
    }
  }
  EXPECT_GT(moved, 0);
}

TEST(Model, ContinuingFromStateGivesTheLogitsOfTheWhole) {
  const uint64_t seed = FreshSeed();
  std::mt19937_64 random(seed);
  const auto backend = MakeCpuBackend(1);
  Model model(*backend, SmallConfig(2, 16));
  model.Initialize(seed);
  Perturb(model, random);
  const auto ids = RandomIds(random, 700, 64);  // longer than a piece
  SequenceState whole(*backend, model.config()), pieces(*backend, model.config());
  const auto expected = model.Continue(whole, ids);
  model.Continue(pieces, std::span(ids).first(130));
  for (size_t i = 130; i < 140; ++i) model.Continue(pieces, {&ids[i], 1});
  const auto actual = model.Continue(pieces, std::span(ids).subspan(140));
  // Other chunk boundaries, other rounding.
  for (size_t v = 0; v < expected.size(); ++v) EXPECT_NEAR(expected[v], actual[v], 2e-3) << v;
}

TEST(Model, SequenceStateDoesNotGrow) {
  const auto backend = MakeCpuBackend(1);
  const ModelConfig config = SmallConfig(2, 16);
  const SequenceState state(*backend, config);
  EXPECT_EQ(state.bytes(),
            static_cast<size_t>(config.n_layers * (3 * 3 * 32 + 2 * 2 * 16 * 16)) * 4);
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
