#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/data/tokenizer_description.h"
#include "tests/core/base/temporary_directory.h"
#include "worker/trainer/checkpoint_loader.h"
#include "worker/trainer/checkpoint_saver.h"

namespace wavefield {

// A model, an optimizer and where they are kept: one rank's part in a run without its data.
struct SampleAttempt {
  SampleAttempt(const TrainTask& task, Storage& storage, CheckpointSaver::Observer observer = {})
      : backend(MakeCpuBackend(1)),
        model(*backend, task.model),
        optimizer(*backend, model.layout(), task.training),
        saver(task, storage, Fingerprint(), state, std::move(observer)) {
    model.ZeroGradients();
  }

  static nlohmann::json Fingerprint() { return {{"backend", "cpu"}}; }

  void Begin(uint64_t seed) {
    model.Initialize(seed);
    optimizer.BeginAverage(model.parameters());
  }

  // The same on every rank: gradients are drawn from the seed and the step.
  void Train(int64_t steps, uint64_t seed) {
    for (int64_t i = 0; i < steps; ++i) {
      ++state.step;
      std::mt19937_64 random(seed + static_cast<uint64_t>(state.step));
      std::normal_distribution<float> normal(0, 0.1f);
      float* gradients = model.gradients().f32();
      for (int64_t k = 0; k < model.gradients().elements(); ++k) gradients[k] = normal(random);
      optimizer.Step(state.step, model.gradients(), model.parameters());
    }
  }

  std::unique_ptr<Backend> backend;
  Model model;
  Optimizer optimizer;
  TrainingState state{.model = model, .optimizer = optimizer};
  CheckpointSaver saver;
};

inline std::vector<float> Values(Tensor flat) { return {flat.f32(), flat.f32() + flat.elements()}; }

// A storage with a dataset's tokenizer in it, and a task.
class SampleTaskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(CreateDirectories(directory_.path() / "datasets/text").ok());
    ASSERT_TRUE(
        WriteFileAtomically(directory_.path() / "datasets/text" / kTokenizerFile, "{}").ok());
    task_.job = "jobs/j";
    task_.spec = nlohmann::json::object();
    task_.model = *FindPreset("wave-field-test");
    task_.training.max_steps = 100;
    FillDefaults(task_.training, 1);
    task_.epoch = 1;
    task_.dataset_directory = "datasets/text";
    task_.checkpoint_directory = "checkpoints/j";
  }

  TemporaryDirectory directory_;
  DirectoryStorage storage_{directory_.path()};
  TrainTask task_;
};

}  // namespace wavefield
