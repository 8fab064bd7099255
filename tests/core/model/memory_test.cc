// What training needs, as planned and as it is.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/backend/cuda/limits.h"
#include "core/model/accounting.h"
#include "core/model/memory_savings.h"
#include "core/model/model.h"
#include "tests/core/model/forms.h"

namespace wavefield {
namespace {

using testing::Form;

TrainingConfig Recipe(int64_t sequence_length, int64_t micro_batch_size) {
  TrainingConfig training;
  training.sequence_length = sequence_length;
  training.batch_size = 4 * micro_batch_size;
  training.micro_batch_size = micro_batch_size;
  training.max_steps = 10;
  FillDefaults(training, 1);
  return training;
}

std::vector<Form> AllForms() {
  std::vector<Form> forms = testing::Forms(2, 16);
  ModelConfig classic = *FindPreset("wave-field-v4-test");
  classic.n_layers = 3;  // the last with interference
  forms.push_back({"classic", classic, {}});
  return forms;
}

// Every recipe that changes which tensors there are.
std::vector<TrainingConfig> Recipes(const ModelConfig& config) {
  std::vector<TrainingConfig> recipes;
  for (const char* recompute : {"none", "mixer", "block"}) {
    for (const int64_t chunk : {0, 24}) {
      recipes.push_back(Recipe(72, 2));
      recipes.back().recompute = recompute;
      recipes.back().sequence_chunk = chunk;
    }
  }
  recipes.push_back(Recipe(72, 2));
  recipes.back().dropout = 0.1;
  for (const Propagation way : FindMixer(config.form)->Ways(config)) {
    recipes.push_back(Recipe(72, 2));
    recipes.back().propagation = NameOf(way);
  }
  return recipes;
}

std::string Name(const Form& form, const TrainingConfig& training) {
  return form.name + " recompute " + training.recompute + " chunk " +
         std::to_string(training.sequence_chunk) + " dropout " + std::to_string(training.dropout) +
         " by " + training.propagation;
}

TEST(MemoryEstimate, ThePlanIsTheArenaOfARealPass) {
  const auto backend = MakeCpuBackend(1);
  for (const Form& form : AllForms()) {
    for (const TrainingConfig& training : Recipes(form.config)) {
      SCOPED_TRACE(Name(form, training));
      Model model(*backend, form.config, ExecutionOf(training));
      model.Initialize(1);
      model.ZeroGradients();
      const std::vector<int32_t> ids(static_cast<size_t>(2 * training.sequence_length), 1);
      model.Forward(2, ids);
      model.Backward(ids, 1);
      EXPECT_EQ(static_cast<int64_t>(model.arena().peak_bytes()),
                EstimateMemory(form.config, training, 1).activations);
    }
  }
}

// The plan aborts where an operation is given a tensor of the wrong type.
TEST(MemoryEstimate, ActivationsOfBFloat16AreHalfAsLarge) {
  for (const Form& form : AllForms()) {
    for (TrainingConfig training : Recipes(form.config)) {
      SCOPED_TRACE(Name(form, training));
      const MemoryEstimate fp32 = EstimateMemory(form.config, training, 1, "cuda");
      EXPECT_EQ(fp32.activations, EstimateMemory(form.config, training, 1).activations);
      training.precision = "bf16";
      const MemoryEstimate bf16 = EstimateMemory(form.config, training, 1, "cuda");
      EXPECT_EQ(bf16.parameters + bf16.gradients + bf16.optimizer,
                fp32.parameters + fp32.gradients + fp32.optimizer);
      if (training.sequence_chunk > 0) continue;  // states are fp32, and many here
      EXPECT_GT(bf16.activations, fp32.activations / 2);
      EXPECT_LT(bf16.activations, fp32.activations * 6 / 10);
    }
  }
}

TEST(MemoryEstimate, AGpuNeedsRoomForItsOperations) {
  const ModelConfig config = *FindPreset("wave-field-124m");
  TrainingConfig training = Recipe(2048, 4);
  constexpr int64_t kMiB = 1 << 20;
  const int64_t fp32 = EstimateMemory(config, training, 1, "cuda").workspace;
  EXPECT_GT(fp32, 532 * kMiB);
  EXPECT_LT(fp32, 2048 * kMiB);
  training.precision = "bf16";
  // At least the embedding, rounded.
  EXPECT_GT(EstimateMemory(config, training, 1, "cuda").workspace,
            532 * kMiB + 2 * config.vocab_size * config.d_model);
}

TEST(MemoryEstimate, WhatAGpuReservesForItsOperationsIsCountedOnce) {
  const ModelConfig config = *FindPreset("wave-field-124m");
  TrainingConfig training = Recipe(2048, 4);
  training.precision = "bf16";
  const MemoryEstimate estimate = EstimateMemory(config, training, 1, "cuda");
  EXPECT_GT(estimate.reserved, 2 * config.vocab_size * config.d_model);
  EXPECT_EQ(estimate.workspace, (int64_t{532} << 20) + estimate.reserved);
  EXPECT_EQ(estimate.total(), estimate.parameters + estimate.gradients + estimate.optimizer +
                                  estimate.activations + estimate.workspace);
  const MemoryEstimate cpu = EstimateMemory(config, training, 1, "cpu");
  EXPECT_EQ(cpu.reserved, 0);
  EXPECT_EQ(cpu.total(), cpu.parameters + cpu.gradients + cpu.optimizer + cpu.snapshot +
                             cpu.activations + cpu.workspace);
  EXPECT_EQ(cpu.snapshot, 3 * cpu.parameters);
}

TEST(MemoryEstimate, TellsTheSharedMemoryOfTheKernelThatAsksForMost) {
  ModelConfig config = *FindPreset("wave-field-3m");
  const TrainingConfig training = Recipe(256, 1);
  const auto shared = [&](const char* device) {
    return EstimateMemory(config, training, 1, device).shared;
  };
  EXPECT_EQ(shared("cuda"), static_cast<int64_t>(cuda::kEverySharedBytes));
  EXPECT_EQ(shared("cpu"), 0);
  config.n_layers = 1;
  config.d_model = 6144;
  config.n_heads = 48;
  EXPECT_EQ(shared("cuda"), static_cast<int64_t>(cuda::ReadoutBackwardShared(48, 128)));
  config = *FindPreset("wave-field-v4-test");
  config.d_model = 16384;
  config.n_heads = 16;
  EXPECT_EQ(shared("cuda"), static_cast<int64_t>(cuda::CoupledReadBackwardShared(16, 1024)));
}

TEST(MemoryEstimate, MoreOfAWindowNeedsNoLessRoomForTheOperations) {
  for (const char* preset : {"wave-field-124m", "wave-field-static-124m", "transformer-124m"}) {
    SCOPED_TRACE(preset);
    const ModelConfig config = *FindPreset(preset);
    const auto reserved = [&](int64_t tokens, int64_t windows) {
      return EstimateMemory(config, Recipe(tokens, windows), 1, "cuda").reserved;
    };
    EXPECT_GE(reserved(1 << 20, 1), reserved(1 << 17, 1));
    EXPECT_GE(reserved(1 << 17, 64), reserved(1 << 17, 1));
  }
}

TEST(MemoryEstimate, PeersNeedRoomForTheirMessagesOnAGpu) {
  const ModelConfig config = *FindPreset("wave-field-3m");
  const TrainingConfig training = Recipe(256, 1);
  const auto total = [&](const char* device, int64_t ranks) {
    return EstimateMemory(config, training, 1, device, ranks).total();
  };
  EXPECT_EQ(total("cuda", 2), total("cuda", 1) + (int64_t{768} << 20));
  EXPECT_EQ(total("cuda", 8), total("cuda", 2));
  const auto snapshot = [&](int64_t ranks) {
    return EstimateMemory(config, training, 1, "cpu", ranks).snapshot;
  };
  EXPECT_EQ(total("cpu", 1) - total("cpu", 2), snapshot(1) - snapshot(2));
}

class Savings : public ::testing::Test {
 protected:
  int64_t Need(const TrainingConfig& training, const std::string& device) const {
    return EstimateMemory(config_, training, 1, device).total();
  }
  std::vector<std::string> Changes(int64_t limit, const std::string& device) const {
    std::vector<std::string> changes;
    for (const MemorySaving& saving : CheapestSavings(config_, recipe_, 1, device, limit)) {
      EXPECT_LE(saving.bytes, limit) << saving.change;
      changes.push_back(saving.change);
    }
    return changes;
  }

  const ModelConfig config_ = *FindPreset("wave-field-3m");
  TrainingConfig recipe_ = Recipe(2048, 4);
};

TEST_F(Savings, AreTheTwoCheapestThatAreEnough) {
  using List = std::vector<std::string>;
  EXPECT_EQ(Changes(Need(recipe_, "cuda") - 1, "cuda"),
            (List{"training.precision to 'bf16'", "training.micro_batch_size to 2"}));
  EXPECT_EQ(Changes(Need(recipe_, "cpu") - 1, "cpu"),
            (List{"training.micro_batch_size to 2", "training.recompute to 'mixer'"}));

  TrainingConfig smaller = recipe_;
  smaller.micro_batch_size = 1;
  EXPECT_EQ(Changes(Need(smaller, "cpu"), "cpu").at(0), "training.micro_batch_size to 1");
  recipe_.recompute = "block";
  recipe_.micro_batch_size = 1;
  EXPECT_EQ(Changes(Need(recipe_, "cpu") - 1, "cpu"), List{"training.sequence_chunk to 1024"});
}

TEST_F(Savings, GoTogetherWhereNoneIsEnoughAlone) {
  TrainingConfig least = recipe_;
  least.micro_batch_size = 1;
  least.recompute = "block";
  EXPECT_EQ(
      Changes(Need(least, "cpu"), "cpu"),
      std::vector<std::string>{"training.micro_batch_size to 1 and training.recompute to 'block'"});
}

TEST_F(Savings, BecomeAdvice) {
  const std::vector<MemorySaving> two = {{"training.precision to 'bf16'", int64_t{3} << 30},
                                         {"training.micro_batch_size to 2", int64_t{5} << 29}};
  EXPECT_EQ(Advice(two),
            "set training.precision to 'bf16' (3.00 GiB), or training.micro_batch_size to 2 "
            "(2.50 GiB)");
  EXPECT_EQ(Advice(CheapestSavings(config_, recipe_, 1, "cpu", 1000)),
            "take a smaller model or a shorter sequence_length");
}

}  // namespace
}  // namespace wavefield
