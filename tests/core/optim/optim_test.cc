#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/backend/planning/planning_backend.h"
#include "core/model/accounting.h"
#include "core/optim/optimizer.h"
#include "core/optim/schedule.h"
#include "tests/core/optim/double_step.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

TrainingConfig Recipe(const std::string& schedule, int64_t warmup, int64_t steps) {
  TrainingConfig config;
  config.schedule = schedule;
  config.learning_rate = 0.01;
  config.warmup_steps = warmup;
  config.max_steps = steps;
  config.final_ratio = 0.1;
  return config;
}

TEST(Schedule, CosineWarmsUpLinearlyThenFallsToTheFinalRatio) {
  const TrainingConfig config = Recipe("cosine", 10, 110);
  EXPECT_DOUBLE_EQ(LearningRate(config, 1), 0.001);
  EXPECT_DOUBLE_EQ(LearningRate(config, 10), 0.01);
  EXPECT_NEAR(LearningRate(config, 35), 0.01 * (0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5))), 1e-12);
  EXPECT_NEAR(LearningRate(config, 60), 0.01 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(LearningRate(config, 110), 0.001, 1e-12);
  EXPECT_NEAR(LearningRate(config, 500), 0.001, 1e-12);
}

TEST(Schedule, LinearFallsByTheSameAmountEachStep) {
  const TrainingConfig config = Recipe("linear", 10, 110);
  EXPECT_DOUBLE_EQ(LearningRate(config, 5), 0.005);
  EXPECT_NEAR(LearningRate(config, 11), 0.01 * (1 - 0.9 * 0.01), 1e-12);
  EXPECT_NEAR(LearningRate(config, 35), 0.01 * (1 - 0.9 * 0.25), 1e-12);
  EXPECT_NEAR(LearningRate(config, 110), 0.001, 1e-12);
  EXPECT_NEAR(LearningRate(config, 500), 0.001, 1e-12);
}

TEST(Schedule, WsdStaysAtThePeakAndFallsOverTheLastSteps) {
  TrainingConfig config = Recipe("wsd", 10, 100);
  config.decay_ratio = 0.2;
  EXPECT_DOUBLE_EQ(LearningRate(config, 5), 0.005);
  EXPECT_DOUBLE_EQ(LearningRate(config, 11), 0.01);
  EXPECT_DOUBLE_EQ(LearningRate(config, 80), 0.01);
  EXPECT_NEAR(LearningRate(config, 90), 0.01 * (1 - 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(LearningRate(config, 100), 0.001, 1e-12);
}

TEST(Schedule, ADecayPhaseLongerThanTheRunBeginsAfterWarmup) {
  TrainingConfig config = Recipe("wsd", 20, 120);
  config.decay_ratio = 1;
  EXPECT_DOUBLE_EQ(LearningRate(config, 20), 0.01);
  EXPECT_NEAR(LearningRate(config, 70), 0.01 * (1 - 0.9 * 0.5), 1e-12);
}

TEST(Schedule, WithoutWarmupTheFirstStepIsAtFullRate) {
  const TrainingConfig config = Recipe("constant", 0, 100);
  EXPECT_DOUBLE_EQ(LearningRate(config, 1), 0.01);
  EXPECT_DOUBLE_EQ(LearningRate(config, 1000), 0.01);
}

std::vector<float> RandomValues(std::mt19937_64& random, int64_t count, float deviation) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

Tensor Flat(std::vector<float>& values) {
  return {values.data(), DType::kFloat32, {static_cast<int64_t>(values.size())}};
}

std::vector<float> Values(Tensor flat) { return {flat.f32(), flat.f32() + flat.elements()}; }

struct Case {
  const char* name;
  void (*change)(TrainingConfig&);
};

class OneStep : public ::testing::TestWithParam<Case> {};

// Three steps, so that momentum, bias corrections and averages of earlier ones count too.
TEST_P(OneStep, AgreesWithDoublePrecision) {
  std::mt19937_64 random(testing::FreshSeed());
  TrainingConfig config = Recipe("linear", 2, 12);
  GetParam().change(config);
  const ParameterLayout layout(*FindPreset("wave-field-test"));
  for (const auto& backend : {MakeCpuBackend(2), MakeReferenceBackend()}) {
    SCOPED_TRACE(backend->name());
    std::vector<float> parameters = RandomValues(random, layout.elements(), 1);
    Optimizer optimizer(*backend, layout, config);
    optimizer.BeginAverage(Flat(parameters));
    testing::DoubleStep expected(layout, config, parameters);
    for (int64_t step = 1; step <= 3; ++step) {
      std::vector<float> gradients = RandomValues(random, layout.elements(), 0.01f);
      const std::vector<float> given = gradients;
      const double norm = optimizer.Step(step, Flat(gradients), Flat(parameters));
      const double factor = step == 1 ? 0.5 : step == 2 ? 1 : 1 - 0.9 * 0.1;
      EXPECT_NEAR(norm, expected.Step(step, factor, gradients), 1e-6 * norm);
      EXPECT_EQ(gradients, given);
    }
    // A handful of fp32 roundings of values around 1.
    for (size_t i = 0; i < parameters.size(); ++i) {
      ASSERT_NEAR(parameters[i], expected.parameters()[i], 3e-6) << i;
    }
    if (config.ema_decay > 0) {
      const std::vector<float> average = Values(optimizer.average());
      for (size_t i = 0; i < average.size(); ++i) {
        ASSERT_NEAR(average[i], expected.average()[i], 3e-6) << i;
      }
    } else {
      EXPECT_TRUE(optimizer.average().empty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, OneStep,
    ::testing::Values(Case{"AdamWWithoutClipping", [](TrainingConfig& c) { c.clip_grad_norm = 0; }},
                      Case{"AdamWClipped", [](TrainingConfig& c) { c.clip_grad_norm = 0.5; }},
                      Case{"GroupMultipliers",
                           [](TrainingConfig& c) {
                             c.mixer_lr_multiplier = 0.25;
                             c.embedding_lr_multiplier = 3;
                           }},
                      Case{"Average", [](TrainingConfig& c) { c.ema_decay = 0.2; }},
                      Case{"Muon", [](TrainingConfig& c) { c.optimizer = "muon"; }},
                      Case{"MuonWithEverything",
                           [](TrainingConfig& c) {
                             c.optimizer = "muon";
                             c.muon_learning_rate = 0.05;
                             c.clip_grad_norm = 0.1;
                             c.weight_decay = 0.5;
                             c.mixer_lr_multiplier = 2;
                             c.ema_decay = 0.999;
                           }}),
    [](const auto& info) { return info.param.name; });

TEST(Optimizer, AMultiplierOfZeroFreezesItsGroupAlone) {
  std::mt19937_64 random(testing::FreshSeed());
  const auto backend = MakeCpuBackend(1);
  const ParameterLayout layout(*FindPreset("wave-field-test"));
  TrainingConfig config = Recipe("constant", 0, 10);
  config.mixer_lr_multiplier = 0;
  Optimizer optimizer(*backend, layout, config);
  std::vector<float> parameters = RandomValues(random, layout.elements(), 1);
  const std::vector<float> before = parameters;
  std::vector<float> gradients = RandomValues(random, layout.elements(), 1);
  optimizer.Step(1, Flat(gradients), Flat(parameters));
  for (const ParameterInfo& info : layout.parameters()) {
    const auto first = static_cast<size_t>(info.offset);
    EXPECT_EQ(parameters[first] == before[first], info.group == ParameterGroup::kKernel)
        << info.name;
  }
}

TEST(Optimizer, LeavesEverythingAloneWhenAGradientIsNotFinite) {
  const auto backend = MakeCpuBackend(1);
  const ParameterLayout layout(*FindPreset("wave-field-test"));
  TrainingConfig config = Recipe("cosine", 0, 10);
  config.ema_decay = 0.9;
  config.optimizer = "muon";
  Optimizer optimizer(*backend, layout, config);
  const auto n = static_cast<size_t>(layout.elements());
  std::vector<float> parameters(n, 1.0f), gradients(n, 0.1f), other(n, 2.0f);
  optimizer.BeginAverage(Flat(other));
  gradients[n / 2] = std::numeric_limits<float>::quiet_NaN();
  std::vector<LayerUpdate> updates(1);
  EXPECT_TRUE(std::isnan(optimizer.Step(1, Flat(gradients), Flat(parameters), &updates)));
  EXPECT_EQ(parameters, std::vector<float>(n, 1.0f));
  EXPECT_EQ(Values(optimizer.average()), other);
  EXPECT_EQ(Values(optimizer.first_moment()), std::vector<float>(n, 0.0f));
  EXPECT_TRUE(updates.empty());
}

TEST(Optimizer, SaysHowFarEachLayerMovedAndTakesTheSameStep) {
  std::mt19937_64 random(testing::FreshSeed());
  const auto backend = MakeCpuBackend(2);
  const ParameterLayout layout(*FindPreset("wave-field-test"));
  for (const char* kind : {"adamw", "muon"}) {
    TrainingConfig config = Recipe("constant", 0, 10);
    config.optimizer = kind;
    Optimizer plain(*backend, layout, config), asked(*backend, layout, config);
    std::vector<float> parameters = RandomValues(random, layout.elements(), 1);
    const std::vector<float> before = parameters;
    std::vector<float> copy = parameters;
    std::vector<float> gradients = RandomValues(random, layout.elements(), 0.1f);
    plain.Step(1, Flat(gradients), Flat(copy));
    std::vector<LayerUpdate> updates;
    asked.Step(1, Flat(gradients), Flat(parameters), &updates);
    EXPECT_EQ(parameters, copy);
    ASSERT_EQ(updates.size(), 2u);
    for (size_t layer = 0; layer < updates.size(); ++layer) {
      double moved = 0, size = 0, squares = 0, count = 0;
      for (const ParameterInfo& info : layout.parameters()) {
        if (!info.name.starts_with("layers." + std::to_string(layer) + ".")) continue;
        const auto begin = static_cast<size_t>(info.offset);
        for (size_t i = begin; i < begin + static_cast<size_t>(info.shape.elements()); ++i) {
          const double change = static_cast<double>(parameters[i]) - before[i];
          moved += change * change;
          size += static_cast<double>(before[i]) * before[i];
          squares += static_cast<double>(gradients[i]) * gradients[i];
          ++count;
        }
      }
      EXPECT_NEAR(updates[layer].update_ratio, std::sqrt(moved / size), 1e-6);
      EXPECT_NEAR(updates[layer].gradient_rms, std::sqrt(squares / count), 1e-9);
    }
  }
}

// Counts what is allocated.
class CountingBackend final : public PlanningBackend {
 public:
  void* Allocate(size_t bytes) override {
    bytes_ += static_cast<int64_t>(bytes);
    return PlanningBackend::Allocate(bytes);
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

TEST(Optimizer, TakesTheMemoryThatIsEstimated) {
  for (const char* preset : {"wave-field-test", "transformer-3m", "wave-field-v4-test"}) {
    for (const char* kind : {"adamw", "muon"}) {
      for (const double ema_decay : {0.0, 0.9}) {
        SCOPED_TRACE(std::string(preset) + " by " + kind + ", average " +
                     std::to_string(ema_decay));
        const ModelConfig model = *FindPreset(preset);
        const ParameterLayout layout(model);
        TrainingConfig config = Recipe("constant", 0, 10);
        config.optimizer = kind;
        config.ema_decay = ema_decay;
        config.sequence_length = 32;
        config.batch_size = config.micro_batch_size = 1;
        FillDefaults(config, 1);
        CountingBackend backend;
        Optimizer optimizer(backend, layout, config);
        // What is computed with is not counted, and need not be anywhere.
        const Tensor elsewhere{&backend, DType::kFloat32, {layout.elements()}};
        std::vector<LayerUpdate> updates;
        for (const int64_t step : {1, 2}) optimizer.Step(step, elsewhere, elsewhere, &updates);
        EXPECT_EQ(backend.bytes(), EstimateMemory(model, config, 1).optimizer);
      }
    }
  }
}

// The singular values of what Muon adds lie around 1, whatever those of the gradient are.
TEST(MuonStep, MovesAlongANearlyOrthogonalMatrix) {
  std::mt19937_64 random(testing::FreshSeed());
  const auto backend = MakeCpuBackend(1);
  struct Size {
    int64_t rows, cols;
  };
  for (const Size s : {Size{24, 24}, Size{60, 20}, Size{20, 60}, Size{1, 7}}) {
    std::vector<float> gradient = RandomValues(random, s.rows * s.cols, 3);
    std::vector<float> parameter(gradient.size()), momentum(gradient.size());
    const auto matrix = [&](std::vector<float>& values) {
      return Tensor{values.data(), DType::kFloat32, {s.rows, s.cols}};
    };
    Muon muon(*backend, s.rows * s.cols, std::min(s.rows, s.cols));
    muon.Step({.learning_rate = 1, .weight_decay = 0, .gradient_scale = 1}, matrix(gradient),
              matrix(parameter), matrix(momentum));
    double squares = 0, along = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      squares += static_cast<double>(parameter[i]) * parameter[i];
      along += static_cast<double>(parameter[i]) * gradient[i];
    }
    const auto rank = static_cast<double>(std::min(s.rows, s.cols));
    const double tall = std::max(1.0, static_cast<double>(s.rows) / static_cast<double>(s.cols));
    EXPECT_NEAR(std::sqrt(squares / rank / tall), 0.95, 0.3) << s.rows << " × " << s.cols;
    EXPECT_LT(along, 0);
  }
}

}  // namespace
}  // namespace wavefield
