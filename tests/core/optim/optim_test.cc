#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/optim/adamw.h"
#include "core/optim/schedule.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

TrainingConfig Cosine(int64_t warmup, int64_t steps) {
  TrainingConfig config;
  config.schedule = "cosine";
  config.learning_rate = 0.01;
  config.warmup_steps = warmup;
  config.max_steps = steps;
  config.final_ratio = 0.1;
  return config;
}

TEST(Schedule, WarmsUpLinearlyThenFallsByACosineToTheFinalRatio) {
  const TrainingConfig config = Cosine(10, 110);
  EXPECT_DOUBLE_EQ(LearningRate(config, 1), 0.001);
  EXPECT_DOUBLE_EQ(LearningRate(config, 10), 0.01);
  EXPECT_NEAR(LearningRate(config, 60), 0.01 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(LearningRate(config, 110), 0.001, 1e-12);
  EXPECT_NEAR(LearningRate(config, 500), 0.001, 1e-12);
}

TEST(Schedule, WithoutWarmupTheFirstStepIsAtFullRate) {
  TrainingConfig config = Cosine(0, 100);
  config.schedule = "constant";
  EXPECT_DOUBLE_EQ(LearningRate(config, 1), 0.01);
  EXPECT_DOUBLE_EQ(LearningRate(config, 1000), 0.01);
}

class AdamWStep : public ::testing::TestWithParam<double> {};

// Three steps against the formulas in double precision, with and without clipping.
TEST_P(AdamWStep, AgreesWithDoublePrecision) {
  std::mt19937_64 random(testing::FreshSeed());
  std::normal_distribution<float> normal;
  const auto backend = MakeCpuBackend(2);
  const ModelConfig model = *FindPreset("wave-field-test");
  const ParameterLayout layout(model);
  TrainingConfig config = Cosine(2, 100);
  config.clip_grad_norm = GetParam();
  AdamWOptimizer optimizer(*backend, layout, config);
  const auto n = static_cast<size_t>(layout.elements());
  std::vector<float> parameters(n), gradients(n);
  for (float& p : parameters) p = normal(random);
  std::vector<double> p(parameters.begin(), parameters.end()), m(n), v(n);
  for (int64_t step = 1; step <= 3; ++step) {
    double squares = 0;
    for (float& g : gradients) {
      g = normal(random) * 0.01f;
      squares += static_cast<double>(g) * g;
    }
    const double norm =
        optimizer.Step(step, {gradients.data(), DType::kFloat32, {layout.elements()}},
                       {parameters.data(), DType::kFloat32, {layout.elements()}});
    EXPECT_NEAR(norm, std::sqrt(squares), 1e-6 * norm);
    const double scale =
        config.clip_grad_norm > 0 ? std::min(1.0, config.clip_grad_norm / std::sqrt(squares)) : 1.0;
    const double rate = LearningRate(config, step);
    for (const ParameterInfo& info : layout.parameters()) {
      for (int64_t k = info.offset; k < info.offset + info.shape.elements(); ++k) {
        const auto i = static_cast<size_t>(k);
        const double g = scale * gradients[i];
        m[i] = config.beta1 * m[i] + (1 - config.beta1) * g;
        v[i] = config.beta2 * v[i] + (1 - config.beta2) * g * g;
        const double m_hat = m[i] / (1 - std::pow(config.beta1, step));
        const double v_hat = v[i] / (1 - std::pow(config.beta2, step));
        p[i] -= rate * (m_hat / (std::sqrt(v_hat) + config.epsilon) +
                        (info.decays ? config.weight_decay : 0.0) * p[i]);
      }
    }
  }
  // A handful of fp32 roundings of values around 1.
  for (size_t i = 0; i < n; ++i) ASSERT_NEAR(parameters[i], p[i], 2e-6) << i;
}

INSTANTIATE_TEST_SUITE_P(Clipping, AdamWStep, ::testing::Values(0.0, 0.5));

TEST(AdamW, LeavesEverythingAloneWhenAGradientIsNotFinite) {
  const auto backend = MakeCpuBackend(1);
  const ParameterLayout layout(*FindPreset("wave-field-test"));
  AdamWOptimizer optimizer(*backend, layout, Cosine(0, 10));
  const auto n = static_cast<size_t>(layout.elements());
  std::vector<float> parameters(n, 1.0f), gradients(n, 0.1f);
  gradients[n / 2] = std::numeric_limits<float>::quiet_NaN();
  const double norm = optimizer.Step(1, {gradients.data(), DType::kFloat32, {layout.elements()}},
                                     {parameters.data(), DType::kFloat32, {layout.elements()}});
  EXPECT_TRUE(std::isnan(norm));
  EXPECT_EQ(parameters, std::vector<float>(n, 1.0f));
  EXPECT_EQ(optimizer.first_moment().f32()[0], 0);
}

}  // namespace
}  // namespace wavefield
