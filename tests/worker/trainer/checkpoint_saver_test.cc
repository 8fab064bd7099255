// Saving beside training, by several ranks and with storage that fails.

#include "worker/trainer/checkpoint_saver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "core/checkpoint/reader.h"
#include "core/model/accounting.h"
#include "tests/core/checkpoint/complete_checkpoints.h"
#include "tests/core/checkpoint/forwarding_storage.h"
#include "tests/support/random_inputs.h"
#include "tests/worker/trainer/sample_attempt.h"

namespace wavefield {
namespace {

using Mode = CheckpointSaver::Mode;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Lets nothing be written before it is opened.
class GatedStorage final : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    gate_.wait();
    return ForwardingStorage::Create(path);
  }
  void Open() { gate_.count_down(); }

 private:
  std::latch gate_{1};
};

// Fails to create files while told to, and may have little space.
class PoorStorage final : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    ++created;
    if (full) return absl::ResourceExhaustedError("no space left on device");
    return ForwardingStorage::Create(path);
  }
  absl::StatusOr<uint64_t> FreeBytes() override {
    return free > 0 ? free : ForwardingStorage::FreeBytes();
  }

  std::atomic<bool> full = false;
  std::atomic<uint64_t> free = 0;  // 0: what there is
  std::atomic<int> created = 0;
};

struct Failure {
  int64_t step;
  std::string why;
};

// What a saver told; to be read when nothing is under way.
struct Told {
  CheckpointSaver::Observer Observer() {
    return {.saved = [this](const SavedCheckpoint& checkpoint) { saved.push_back(checkpoint); },
            .failed =
                [this](int64_t step, const absl::Status& why) {
                  failed.push_back({step, std::string(why.message())});
                }};
  }
  std::vector<int64_t> SavedSteps() const {
    std::vector<int64_t> steps;
    for (const SavedCheckpoint& checkpoint : saved) steps.push_back(checkpoint.step);
    return steps;
  }
  std::vector<SavedCheckpoint> saved;
  std::vector<Failure> failed;
};

class CheckpointSaverTest : public SampleTaskTest {
 protected:
  std::vector<std::string> CompleteOnes() {
    return *ListCompleteCheckpoints(storage_, task_.checkpoint_directory);
  }
  std::vector<std::string> Directories() { return *storage_.List(task_.checkpoint_directory); }

  // Runs `rank` on a thread for each of two ranks, which save to a storage each.
  template <typename Body>
  void OnTwoRanks(const std::vector<Storage*>& storages, std::vector<Told>& told,
                  const Body& body) {
    const auto communicators = MakeInProcessCommunicators(2);
    told.resize(2);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        const auto i = static_cast<size_t>(rank);
        TrainTask task = task_;
        task.rank = rank;
        task.world_size = 2;
        SampleAttempt attempt(task, *storages[i], told[i].Observer());
        attempt.Begin(1);
        attempt.Train(1, 1);
        body(attempt, *communicators[i]);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::unique_ptr<Communicator> alone_ = MakeSoloCommunicator();
};

// What the ranks agree on after a step, until the save is through.
void StepsUntilSaved(SampleAttempt& attempt, Communicator& communicator) {
  while (attempt.saver.under_way()) {
    attempt.Train(1, 1);
    const SaveShare mine = attempt.saver.share();
    std::array<double, 2> sums = {mine.busy ? 1.0 : 0.0, mine.failed ? 1.0 : 0.0};
    ASSERT_TRUE(communicator.AllReduceSum(sums).ok());
    attempt.saver.Advance({.busy = sums[0] > 0, .failed = sums[1] > 0});
  }
}

TEST_F(CheckpointSaverTest, TrainingGoesOnWhileTheStateOfTheStepIsWritten) {
  const uint64_t seed = testing::FreshSeed();
  GatedStorage gated(storage_);
  Told told;
  SampleAttempt attempt(task_, gated, told.Observer());
  attempt.Begin(seed);
  attempt.Train(2, seed);
  const std::vector<float> weights = Values(attempt.model.parameters());
  ASSERT_TRUE(attempt.saver.Save(Mode::kBehind, *alone_).ok());
  // Not a byte is written yet.
  for (int step = 0; step < 3; ++step) {
    attempt.Train(1, seed);
    EXPECT_TRUE(attempt.saver.share().busy);
    attempt.saver.Advance(attempt.saver.share());
    EXPECT_EQ(attempt.saver.saved_step(), -1);
  }
  EXPECT_NE(Values(attempt.model.parameters()), weights);
  gated.Open();
  StepsUntilSaved(attempt, *alone_);
  EXPECT_EQ(attempt.saver.saved_step(), 2);
  ASSERT_THAT(told.SavedSteps(), ElementsAre(2));
  EXPECT_GT(told.saved[0].duration, told.saved[0].stall);

  SampleAttempt loaded(task_, storage_);
  ASSERT_TRUE(
      LoadTensors(directory_.path() / told.saved[0].directory, loaded.state.ModelTensors()).ok());
  EXPECT_EQ(Values(loaded.model.parameters()), weights);
}

TEST_F(CheckpointSaverTest, WrittenBehindOrAtOnceTheFilesAreTheSame) {
  const uint64_t seed = testing::FreshSeed();
  task_.training.ema_decay = 0.9;
  std::vector<Told> told;
  std::vector<std::map<std::string, std::string>> digests;
  for (const Mode mode : {Mode::kBehind, Mode::kNow}) {
    OnTwoRanks({&storage_, &storage_}, told, [&](SampleAttempt& attempt, Communicator& group) {
      attempt.Train(1, seed);
      ASSERT_TRUE(attempt.saver.Save(mode, group).ok());
      StepsUntilSaved(attempt, group);
      EXPECT_EQ(attempt.saver.saved_step(), 2);
    });
    ASSERT_EQ(told[0].saved.size(), digests.size() + 1);
    EXPECT_THAT(told[1].saved, IsEmpty());
    const auto manifest =
        VerifyCheckpoint(directory_.path() / told[0].saved.back().directory, VerifyLevel::kFull);
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    auto& files = digests.emplace_back();
    for (const auto& file : manifest->files) files[file.name] = file.sha256;
    ++task_.epoch;
  }
  EXPECT_EQ(digests[0].size(), 6u);
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(CheckpointSaverTest, ASaveThatIsDueEarlyWaitsForTheOneUnderWay) {
  GatedStorage gated(storage_);
  Told told;
  SampleAttempt attempt(task_, gated, told.Observer());
  attempt.Begin(1);
  attempt.Train(1, 1);
  ASSERT_TRUE(attempt.saver.Save(Mode::kBehind, *alone_).ok());
  attempt.Train(1, 1);
  std::thread opener([&] { gated.Open(); });
  ASSERT_TRUE(attempt.saver.Save(Mode::kBehind, *alone_).ok());
  opener.join();
  EXPECT_THAT(told.SavedSteps(), ElementsAre(1));
  EXPECT_EQ(attempt.saver.saved_step(), 1);
  attempt.Train(1, 1);
  ASSERT_TRUE(attempt.saver.Save(Mode::kNow, *alone_).ok());
  EXPECT_THAT(told.SavedSteps(), ElementsAre(1, 2, 3));
  EXPECT_EQ(told.saved[2].stall, told.saved[2].duration);
  EXPECT_FALSE(attempt.saver.under_way());
}

TEST_F(CheckpointSaverTest, OneRankThatCannotWriteFailsTheSaveOnceAndLeavesNothing) {
  for (const Mode mode : {Mode::kBehind, Mode::kNow}) {
    for (const size_t poor : {0u, 1u}) {
      SCOPED_TRACE(poor);
      PoorStorage failing(storage_);
      failing.full = true;
      std::vector<Storage*> storages = {&storage_, &storage_};
      storages[poor] = &failing;
      std::vector<Told> told;
      OnTwoRanks(storages, told, [&](SampleAttempt& attempt, Communicator& group) {
        ASSERT_TRUE(attempt.saver.Save(mode, group).ok());
        StepsUntilSaved(attempt, group);
        EXPECT_EQ(attempt.saver.saved_step(), -1);
        EXPECT_TRUE(group.Barrier().ok());
        failing.full = false;
        EXPECT_TRUE(group.Barrier().ok());
        attempt.state.step = 50;
        ASSERT_TRUE(attempt.saver.Save(mode, group).ok());
        StepsUntilSaved(attempt, group);
        EXPECT_EQ(attempt.saver.saved_step(), 50);
      });
      ASSERT_EQ(told[0].failed.size(), 1u);
      EXPECT_EQ(told[0].failed[0].step, 1);
      EXPECT_THAT(told[0].failed[0].why,
                  HasSubstr(poor == 0 ? "no space left on device" : "another rank"));
      ASSERT_EQ(told[1].failed.size(), poor);
      for (const Failure& failure : told[1].failed) {
        EXPECT_THAT(failure.why, HasSubstr("no space left on device"));
      }
      EXPECT_THAT(told[0].SavedSteps(), ElementsAre(50));
      EXPECT_THAT(Directories(), ElementsAre(CompleteOnes()[0]));
      ASSERT_TRUE(storage_.Delete(task_.checkpoint_directory).ok());
    }
  }
}

TEST_F(CheckpointSaverTest, NothingIsWrittenWhereThereIsNoRoom) {
  PoorStorage poor(storage_);
  poor.free = 1000;
  std::vector<Told> told;
  uint64_t bytes = 0;
  OnTwoRanks({&poor, &poor}, told, [&](SampleAttempt& attempt, Communicator& group) {
    if (group.rank() == 0) {
      bytes = attempt.model.parameters().bytes() * 3 + 2;  // and the tokenizer's file
    }
    ASSERT_TRUE(attempt.saver.Save(Mode::kBehind, group).ok());
    EXPECT_FALSE(attempt.saver.under_way());
    ASSERT_TRUE(attempt.saver.Save(Mode::kNow, group).ok());
  });
  ASSERT_EQ(told[0].failed.size(), 2u);
  EXPECT_THAT(told[0].failed[0].why,
              AllOf(HasSubstr("needs " + std::to_string(bytes + bytes / 20) + " bytes"),
                    HasSubstr("1000 are free")));
  EXPECT_THAT(told[1].failed, IsEmpty());
  EXPECT_EQ(poor.created, 0);
  EXPECT_THAT(Directories(), IsEmpty());
}

TEST_F(CheckpointSaverTest, ARankThatDiesAmidASaveEndsItWithoutACheckpoint) {
  std::vector<Told> told;
  OnTwoRanks({&storage_, &storage_}, told, [&](SampleAttempt& attempt, Communicator& group) {
    ASSERT_TRUE(attempt.saver.Save(Mode::kBehind, group).ok());
    if (group.rank() == 1) return group.Abort("this rank dies");
    EXPECT_TRUE(absl::IsAborted(attempt.saver.Finish(group)));
  });
  EXPECT_THAT(told[0].saved, IsEmpty());
  EXPECT_THAT(told[0].failed, IsEmpty());
  EXPECT_THAT(CompleteOnes(), IsEmpty());
}

TEST_F(CheckpointSaverTest, TheMemoryOfCopiesIsWhatTheEstimateSays) {
  for (const double ema_decay : {0.0, 0.9}) {
    task_.training.ema_decay = ema_decay;
    SampleAttempt attempt(task_, storage_);
    const auto copies = [&](int rank, int world_size) {
      return static_cast<int64_t>(ShardSnapshot(attempt.state.ModelTensors(),
                                                attempt.state.OptimizerTensors(), rank, world_size)
                                      .bytes());
    };
    const auto estimate = [&](int world_size) {
      return EstimateMemory(task_.model, task_.training, 1, "cpu", world_size).snapshot;
    };
    EXPECT_EQ(copies(0, 1), estimate(1));
    for (const int world_size : {2, 3, 8}) {
      int64_t most = 0, all = 0;
      for (int rank = 0; rank < world_size; ++rank) {
        most = std::max(most, copies(rank, world_size));
        all += copies(rank, world_size);
      }
      EXPECT_EQ(all, estimate(1));
      EXPECT_LE(most, estimate(world_size));
      EXPECT_LE(estimate(world_size), estimate(1));
    }
  }
  EXPECT_EQ(EstimateMemory(task_.model, task_.training, 1, "cuda").snapshot, 0);
  task_.training.checkpoint_every_steps = 0;
  task_.training.checkpoint_every_minutes = 0;
  EXPECT_EQ(EstimateMemory(task_.model, task_.training, 1, "cpu").snapshot, 0);
}

}  // namespace
}  // namespace wavefield
