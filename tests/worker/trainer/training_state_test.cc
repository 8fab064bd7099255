#include "worker/trainer/training_state.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/data/tokenizer_description.h"
#include "tests/core/base/temporary_directory.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

// A model, an optimizer and where they are kept: one attempt's share of a run without its data.
struct Attempt {
  Attempt(const TrainTask& task, const std::filesystem::path& root)
      : backend(MakeCpuBackend(2)),
        model(*backend, task.model),
        optimizer(*backend, model.layout(), task.training),
        keeper(task, {.storage_root = root}, {{"backend", "cpu"}}) {
    model.ZeroGradients();
  }

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
  CheckpointKeeper keeper;
  std::unique_ptr<Communicator> alone = MakeSoloCommunicator();
};

std::vector<float> Values(Tensor flat) { return {flat.f32(), flat.f32() + flat.elements()}; }

class TrainingStateTest : public ::testing::Test {
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

  // Saves, and makes it what the next attempt resumes from.
  void Save(Attempt& attempt) {
    const absl::Status saved =
        attempt.keeper.Save(attempt.state, *attempt.alone, [&](const SavedCheckpoint& checkpoint) {
          task_.resume_candidates = {checkpoint.directory};
        });
    ASSERT_TRUE(saved.ok()) << saved;
    ++task_.epoch;
  }

  void ExpectSameBitsAfterResume() {
    const uint64_t seed = testing::FreshSeed();
    Attempt first(task_, directory_.path());
    first.model.Initialize(seed);
    first.optimizer.BeginAverage(first.model.parameters());
    first.Train(3, seed);
    Save(first);
    first.Train(3, seed);

    Attempt second(task_, directory_.path());
    const auto resumed = second.keeper.Resume(second.state, *second.alone);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_TRUE(resumed->exact);
    ASSERT_EQ(second.state.step, 3);
    second.Train(3, seed);
    EXPECT_EQ(Values(second.model.parameters()), Values(first.model.parameters()));
    EXPECT_EQ(Values(second.optimizer.first_moment()), Values(first.optimizer.first_moment()));
    EXPECT_EQ(Values(second.optimizer.second_moment()), Values(first.optimizer.second_moment()));
    ASSERT_EQ(second.optimizer.average().empty(), first.optimizer.average().empty());
    if (!first.optimizer.average().empty()) {
      EXPECT_EQ(Values(second.optimizer.average()), Values(first.optimizer.average()));
      EXPECT_NE(Values(first.optimizer.average()), Values(first.model.parameters()));
    }
  }

  TemporaryDirectory directory_;
  TrainTask task_;
};

TEST_F(TrainingStateTest, ResumingIsTheSameBitsAsGoingOn) { ExpectSameBitsAfterResume(); }

TEST_F(TrainingStateTest, ResumingIsTheSameBitsWithAMovingAverage) {
  task_.training.ema_decay = 0.9;
  ExpectSameBitsAfterResume();
}

TEST_F(TrainingStateTest, ResumingIsTheSameBitsWithMuonAndAMovingAverage) {
  task_.training.ema_decay = 0.99;
  task_.training.optimizer = "muon";
  ExpectSameBitsAfterResume();
}

TEST_F(TrainingStateTest, CheckpointsThatDoNotVerifyArePassedOverAndCounted) {
  Attempt first(task_, directory_.path());
  first.model.Initialize(1);
  std::vector<std::string> saved;
  for (int i = 0; i < 3; ++i) {
    first.Train(1, 1);
    Save(first);
    saved.insert(saved.begin(), task_.resume_candidates[0]);
  }
  task_.resume_candidates = saved;
  const auto resume = [&] {
    Attempt attempt(task_, directory_.path());
    return attempt.keeper.Resume(attempt.state, *attempt.alone).value();
  };
  EXPECT_EQ(resume().refused, 0);
  for (int i = 0; i < 2; ++i) {
    std::filesystem::resize_file(
        directory_.path() / saved[static_cast<size_t>(i)] / "model-00001-of-00001.safetensors", 40);
  }
  const ResumedFrom resumed = resume();
  EXPECT_EQ(resumed.refused, 2);
  EXPECT_EQ(resumed.directory, saved[2]);
}

TEST_F(TrainingStateTest, AnAverageThatACheckpointDoesNotHoldIsNamed) {
  Attempt without(task_, directory_.path());
  without.model.Initialize(1);
  Save(without);
  task_.training.ema_decay = 0.9;
  Attempt with(task_, directory_.path());
  const auto resumed = with.keeper.Resume(with.state, *with.alone);
  ASSERT_FALSE(resumed.ok());
  EXPECT_NE(std::string(resumed.status().message()).find("ema."), std::string::npos)
      << resumed.status();
}

}  // namespace
}  // namespace wavefield
