// What a run continues from, or starts with, is what was saved.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/checkpoint/manifest.h"
#include "tests/support/random_inputs.h"
#include "tests/worker/trainer/sample_attempt.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;

class TrainingStateTest : public SampleTaskTest {
 protected:
  std::unique_ptr<SampleAttempt> NewAttempt() {
    return std::make_unique<SampleAttempt>(
        task_, storage_,
        CheckpointSaver::Observer{
            .saved = [this](const SavedCheckpoint& saved) { saved_ = saved; },
            .failed = [](int64_t, const absl::Status& why) { ADD_FAILURE() << why; }});
  }

  // Saves, and makes it what the next attempt resumes from.
  void Save(SampleAttempt& attempt, CheckpointSaver::Mode mode = CheckpointSaver::Mode::kNow) {
    ASSERT_TRUE(attempt.saver.Save(mode, *alone_).ok());
    if (mode == CheckpointSaver::Mode::kNow) TakeSaved(attempt);
  }

  void TakeSaved(SampleAttempt& attempt) {
    ASSERT_TRUE(attempt.saver.Finish(*alone_).ok());
    task_.resume_candidates = {saved_.directory};
    ++task_.epoch;
  }

  absl::StatusOr<ResumedFrom> ResumeInto(SampleAttempt& attempt) {
    return Resume(task_, storage_, SampleAttempt::Fingerprint(), *alone_, attempt.state);
  }

  void ExpectSameBitsAfterResume(CheckpointSaver::Mode mode = CheckpointSaver::Mode::kNow) {
    const uint64_t seed = testing::FreshSeed();
    const auto first = NewAttempt();
    first->Begin(seed);
    first->Train(3, seed);
    Save(*first, mode);
    first->Train(3, seed);
    if (mode == CheckpointSaver::Mode::kBehind) TakeSaved(*first);

    const auto second = NewAttempt();
    const auto resumed = ResumeInto(*second);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_TRUE(resumed->exact);
    ASSERT_EQ(second->state.step, 3);
    second->Train(3, seed);
    EXPECT_EQ(Values(second->model.parameters()), Values(first->model.parameters()));
    EXPECT_EQ(Values(second->optimizer.first_moment()), Values(first->optimizer.first_moment()));
    EXPECT_EQ(Values(second->optimizer.second_moment()), Values(first->optimizer.second_moment()));
    ASSERT_EQ(second->optimizer.average().empty(), first->optimizer.average().empty());
    if (!first->optimizer.average().empty()) {
      EXPECT_EQ(Values(second->optimizer.average()), Values(first->optimizer.average()));
      EXPECT_NE(Values(first->optimizer.average()), Values(first->model.parameters()));
    }
  }

  // A checkpoint of another job, of the same model unless `task_` was changed.
  std::string SaveOfAnotherJob(uint64_t seed) {
    task_.checkpoint_directory = "checkpoints/other";
    const auto other = NewAttempt();
    other->Begin(seed);
    other->Train(2, seed);
    Save(*other);
    task_.resume_candidates.clear();
    task_.checkpoint_directory = "checkpoints/j";
    task_.epoch = 1;
    return task_.init_from_directory = saved_.directory;
  }

  SavedCheckpoint saved_;
  std::unique_ptr<Communicator> alone_ = MakeSoloCommunicator();
};

TEST_F(TrainingStateTest, ResumingIsTheSameBitsAsGoingOn) { ExpectSameBitsAfterResume(); }

TEST_F(TrainingStateTest, ResumingFromWhatWasWrittenBehindTrainingIsTheSameBits) {
  ExpectSameBitsAfterResume(CheckpointSaver::Mode::kBehind);
}

TEST_F(TrainingStateTest, ResumingIsTheSameBitsWithAMovingAverage) {
  task_.training.ema_decay = 0.9;
  ExpectSameBitsAfterResume();
}

TEST_F(TrainingStateTest, ResumingIsTheSameBitsWithMuonAndAMovingAverage) {
  task_.training.ema_decay = 0.99;
  task_.training.optimizer = "muon";
  ExpectSameBitsAfterResume(CheckpointSaver::Mode::kBehind);
}

TEST_F(TrainingStateTest, CheckpointsThatDoNotVerifyArePassedOverAndCounted) {
  const auto first = NewAttempt();
  first->Begin(1);
  std::vector<std::string> saved;
  for (int i = 0; i < 3; ++i) {
    first->Train(1, 1);
    Save(*first);
    saved.insert(saved.begin(), saved_.directory);
  }
  task_.resume_candidates = saved;
  const auto resume = [&] { return ResumeInto(*NewAttempt()).value(); };
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
  const auto without = NewAttempt();
  without->Begin(1);
  Save(*without);
  task_.training.ema_decay = 0.9;
  const auto resumed = ResumeInto(*NewAttempt());
  ASSERT_FALSE(resumed.ok());
  EXPECT_THAT(std::string(resumed.status().message()), HasSubstr("ema."));
}

TEST_F(TrainingStateTest, InitialWeightsAreTheOthersWithAFreshOptimizer) {
  const uint64_t seed = testing::FreshSeed();
  const std::string directory = SaveOfAnotherJob(seed);
  const auto expected = NewAttempt();
  expected->Begin(seed);
  expected->Train(2, seed);

  task_.training.ema_decay = 0.9;  // what the other did not have
  const auto fork = NewAttempt();
  ASSERT_TRUE(LoadInitialWeights(task_, storage_, *alone_, fork->state).ok());
  fork->optimizer.BeginAverage(fork->model.parameters());
  EXPECT_EQ(Values(fork->model.parameters()), Values(expected->model.parameters()));
  EXPECT_EQ(Values(fork->optimizer.average()), Values(expected->model.parameters()));
  for (const float moment : Values(fork->optimizer.first_moment())) ASSERT_EQ(moment, 0);
  EXPECT_EQ(fork->state.step, 0);

  fork->Train(1, seed + 1);
  Save(*fork);
  const auto manifest = ParseManifest(saved_.manifest);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->parent, directory);
  EXPECT_EQ(manifest->step, 1u);
}

TEST_F(TrainingStateTest, InitialWeightsOfAnotherModelAreRefusedByTheTensorsNames) {
  SaveOfAnotherJob(1);
  ++task_.model.n_layers;
  const absl::Status more = LoadInitialWeights(task_, storage_, *alone_, NewAttempt()->state);
  EXPECT_EQ(more.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(more.message()),
              HasSubstr("missing tensors 'layers." + std::to_string(task_.model.n_layers - 1)));
  --task_.model.n_layers;
  task_.model.d_ff *= 2;
  const absl::Status wider = LoadInitialWeights(task_, storage_, *alone_, NewAttempt()->state);
  EXPECT_EQ(wider.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wider.message()), HasSubstr("has shape"));
}

TEST_F(TrainingStateTest, DamagedInitialWeightsAreDataLossThatNamesTheFile) {
  const auto file =
      directory_.path() / SaveOfAnotherJob(1) / "optimizer-00001-of-00001.safetensors";
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(-1, std::ios::end);
    bytes.put('x');
  }
  const absl::Status status = LoadInitialWeights(task_, storage_, *alone_, NewAttempt()->state);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("optimizer-00001-of-00001.safetensors"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("init_from"));
}

}  // namespace
}  // namespace wavefield
