// Two ranks as threads, each with an emulated device, train a model: buckets of gradients are
// summed while the backward pass goes on.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/backend/cuda/cuda_backend.h"
#include "core/comm/nccl.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"
#include "core/tensor/host_copy.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/core/comm/rank_group.h"
#include "tests/cuda/emulation/runtime.h"
#include "worker/trainer/gradient_reduction.h"

namespace wavefield {
namespace {

constexpr int64_t kTokens = 40, kMicroBatches = 4, kSteps = 4;
constexpr int64_t kBucketElements = 1500;  // a few of them in each layer

ModelConfig Config() {
  ModelConfig config;
  config.d_model = 32;
  config.n_layers = 2;
  config.n_heads = 2;
  config.d_ff = 48;
  config.vocab_size = 50;
  return config;
}

TrainingConfig Recipe() {
  TrainingConfig training;
  training.schedule = "constant";
  training.learning_rate = 3e-3;
  training.warmup_steps = 0;
  training.max_steps = kSteps;
  return training;
}

struct Outcome {
  std::vector<double> losses;  // of this rank's share
  std::vector<float> first_gradients, initial_weights, weights;
};

// A rank's part of the run: micro-batch j belongs to rank j mod world_size.
Outcome Train(int rank, int world_size, DType activations, uint64_t seed, RendezvousStore& store) {
  const ModelConfig config = Config();
  CudaBackend backend(rank);
  std::unique_ptr<Communicator> communicator = MakeSoloCommunicator();
  if (world_size > 1) {
    auto made = MakeNcclCommunicator({.rank = rank, .world_size = world_size, .cancel = {}}, store,
                                     backend.stream());
    EXPECT_TRUE(made.ok()) << made.status();
    communicator = *std::move(made);
    EXPECT_TRUE(communicator->overlaps());
  }
  ExecutionOptions options;
  options.activations = activations;
  options.sequence_chunk = 25;
  Model model(backend, config, options);
  model.Initialize(seed);
  Optimizer optimizer(backend, model.layout(), Recipe());
  Outcome outcome{.initial_weights = ToHost(backend, model.parameters())};
  std::mt19937_64 random(seed);
  for (int64_t step = 1; step <= kSteps; ++step) {
    model.ZeroGradients();
    GradientReduction reduction(*communicator, model.gradients(), kBucketElements);
    double loss = 0;
    for (int64_t j = 0; j < kMicroBatches; ++j) {
      std::vector<int32_t> ids, targets;
      auto id = static_cast<int32_t>(random() % 50);
      for (int64_t t = 0; t < kTokens; ++t) {
        ids.push_back(id);
        id = static_cast<int32_t>((id + 1 + static_cast<int64_t>(random() % 3)) % 50);
        targets.push_back(id);
      }
      if (j % world_size != rank) continue;
      const bool last = j + world_size >= kMicroBatches;
      model.Forward(1, ids);
      const auto reduce = [&](int64_t begin, int64_t) { reduction.Final(begin); };
      loss += model
                  .Backward(targets, 1.0f / (kMicroBatches * kTokens),
                            last ? Model::OnGradients(reduce) : Model::OnGradients())
                  .loss;
    }
    outcome.losses.push_back(loss);
    const absl::Status reduced = reduction.Finish();
    EXPECT_TRUE(reduced.ok()) << reduced;
    if (step == 1) outcome.first_gradients = ToHost(backend, model.gradients());
    optimizer.Step(step, model.gradients(), model.parameters());
  }
  outcome.weights = ToHost(backend, model.parameters());
  return outcome;
}

std::vector<Outcome> TrainRanks(int world_size, DType activations, uint64_t seed) {
  std::vector<Outcome> outcomes(static_cast<size_t>(world_size));
  MemoryRendezvousStore store;
  OnEveryRank(world_size, [&](int rank) {
    outcomes[static_cast<size_t>(rank)] = Train(rank, world_size, activations, seed, store);
  });
  return outcomes;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum);
}

class CudaTwoRankTrainingTest : public ::testing::TestWithParam<DType> {};

TEST_P(CudaTwoRankTrainingTest, GivesTheWeightsOfOneRankOnTheWholeBatch) {
  const DType activations = GetParam();
  const uint64_t seed = testing::FreshSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Outcome whole = TrainRanks(1, activations, seed).front();
  std::vector<float> weights;
  for (uint64_t order = 0; order < 4; ++order) {
    SCOPED_TRACE("order " + std::to_string(order));
    emulation::SetSeed(seed + order);
    const std::vector<Outcome> ranks = TrainRanks(2, activations, seed);
    EXPECT_EQ(ranks[0].first_gradients, ranks[1].first_gradients);
    EXPECT_EQ(ranks[0].weights, ranks[1].weights);
    if (order == 0) weights = ranks[0].weights;
    EXPECT_EQ(ranks[0].weights, weights) << "the order of streams changed bits";

    // The gradient is summed in another order. AdamW follows its sign where it is nearly zero.
    const std::vector<float> none(whole.first_gradients.size());
    EXPECT_LT(Distance(ranks[0].first_gradients, whole.first_gradients),
              1e-5 * Distance(whole.first_gradients, none));
    EXPECT_LT(Distance(ranks[0].weights, whole.weights),
              0.02 * Distance(whole.weights, whole.initial_weights));
    for (size_t step = 0; step < whole.losses.size(); ++step) {
      EXPECT_NEAR(ranks[0].losses[step] + ranks[1].losses[step], whole.losses[step],
                  1e-3 * whole.losses[step])
          << "step " << step + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Activations, CudaTwoRankTrainingTest,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace wavefield
