// Whole training runs on the CUDA backend beside the CPU's: the same model, batches and recipe give
// the same loss curve.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "core/backend/cuda/cuda_backend.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/cuda/trained_forms.h"

namespace wavefield {
namespace {

constexpr int64_t kBatch = 2, kTokens = 70, kSteps = 12;

// Windows of a random walk over the vocabulary: something that can be learned.
struct Batch {
  std::vector<int32_t> ids, targets;
};
std::vector<Batch> Batches(int64_t vocabulary, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Batch> batches(kSteps);
  for (Batch& batch : batches) {
    for (int64_t b = 0; b < kBatch; ++b) {
      auto id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary));
      for (int64_t t = 0; t < kTokens; ++t) {
        batch.ids.push_back(id);
        id = static_cast<int32_t>((id + 1 + static_cast<int64_t>(random() % 3)) % vocabulary);
        batch.targets.push_back(id);
      }
    }
  }
  return batches;
}

struct Curve {
  std::vector<double> losses;
  std::vector<float> weights;
};

Curve Train(Backend& backend, const testing::Form& form, DType activations,
            const TrainingConfig& training, uint64_t seed) {
  ExecutionOptions options = form.options;
  options.activations = activations;
  options.dropout = 0.1f;
  Model model(backend, form.config, options);
  model.Initialize(seed);
  Optimizer optimizer(backend, model.layout(), training);
  Curve curve;
  int64_t step = 0;
  for (const Batch& batch : Batches(form.config.vocab_size, seed)) {
    model.ZeroGradients();
    model.Forward(kBatch, batch.ids, static_cast<uint64_t>(++step));
    const double loss = model.Backward(batch.targets, 1.0f / (kBatch * kTokens)).loss;
    curve.losses.push_back(loss / (kBatch * kTokens));
    optimizer.Step(step, model.gradients(), model.parameters());
  }
  curve.weights.resize(static_cast<size_t>(model.parameters().elements()));
  backend.CopyToHost(model.parameters(), curve.weights.data());
  return curve;
}

class CudaTrainingTest : public ::testing::TestWithParam<std::tuple<DType, testing::Form>> {
 protected:
  const DType activations_ = std::get<0>(GetParam());
  const testing::Form form_ = std::get<1>(GetParam());
  const uint64_t seed_ = testing::FreshSeed();
  CudaBackend cuda_{0};
};

TrainingConfig Recipe(const char* optimizer) {
  TrainingConfig training;
  training.optimizer = optimizer;
  training.schedule = "constant";
  training.learning_rate = 3e-3;
  training.warmup_steps = 0;
  training.max_steps = kSteps;
  return training;
}

TEST_P(CudaTrainingTest, LossCurveIsThatOfTheCpu) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const TrainingConfig training = Recipe("adamw");
  const auto cpu = MakeCpuBackend(2);
  const Curve expected = Train(*cpu, form_, DType::kFloat32, training, seed_);
  const Curve actual = Train(cuda_, form_, activations_, training, seed_);
  // fp32: rounding that a dozen steps of AdamW amplify (its first steps follow the signs of
  // gradients). bf16: 8 bits in every activation.
  const double tolerance = activations_ == DType::kFloat32 ? 1e-3 : 2e-2;
  double largest = 0;
  for (size_t step = 0; step < expected.losses.size(); ++step) {
    const double difference = std::abs(actual.losses[step] - expected.losses[step]);
    largest = std::max(largest, difference);
    EXPECT_LE(difference, tolerance * expected.losses[step]) << "step " << step + 1;
  }
  std::printf("loss %.4f to %.4f; largest difference to the CPU %.2g\n", actual.losses.front(),
              actual.losses.back(), largest);
}

TEST_P(CudaTrainingTest, ASecondRunHasTheSameBits) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const TrainingConfig training = Recipe("muon");
  const Curve first = Train(cuda_, form_, activations_, training, seed_);
  const Curve second = Train(cuda_, form_, activations_, training, seed_);
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.weights, second.weights);
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaTrainingTest,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::ValuesIn(testing::TrainedForms())),
                         [](const auto& info) {
                           return std::get<1>(info.param).name + "_" +
                                  NameOf(std::get<0>(info.param));
                         });

}  // namespace
}  // namespace wavefield
