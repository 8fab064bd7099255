// Storage that fails at its Nth call: whatever happens, a checkpoint is either whole or not there.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/checkpoint/complete_checkpoints.h"
#include "tests/core/checkpoint/sample_checkpoint.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

enum class Mode {
  kOnce,   // one call fails with RESOURCE_EXHAUSTED, half of its data written
  kCrash,  // the process "dies": it and all later calls fail, and nothing is cleaned up
};

struct Plan {
  int fail_at = 0;  // counted from 1; 0: never
  Mode mode = Mode::kOnce;
  int calls = 0;
  bool crashed = false;

  // Whether this call fails.
  bool Fails() {
    if (++calls == fail_at) crashed = mode == Mode::kCrash;
    return crashed || calls == fail_at;
  }
};

absl::Status Failure() { return absl::ResourceExhaustedError("no space left on device"); }

class FaultyWriter final : public StorageWriter {
 public:
  FaultyWriter(std::unique_ptr<StorageWriter> writer, fs::path path, Plan& plan)
      : writer_(std::move(writer)), path_(std::move(path)), plan_(plan) {}

  // A dead process removes nothing: what it had written is put back.
  ~FaultyWriter() override {
    if (!plan_.crashed || finished_) return;
    const auto torn = ReadFile(path_);
    writer_.reset();
    if (torn.ok()) WriteBytes(path_, *torn);
  }

  absl::Status Append(std::string_view data) override {
    if (!plan_.Fails()) return writer_->Append(data);
    (void)writer_->Append(data.substr(0, data.size() / 2));
    return Failure();
  }
  absl::StatusOr<WrittenFile> Finish() override {
    if (plan_.Fails()) return Failure();
    finished_ = true;
    return writer_->Finish();
  }

 private:
  std::unique_ptr<StorageWriter> writer_;
  const fs::path path_;
  Plan& plan_;
  bool finished_ = false;
};

class FaultyStorage final : public Storage {
 public:
  FaultyStorage(Storage& storage, Plan& plan) : storage_(storage), plan_(plan) {}

  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    if (plan_.Fails()) return Failure();
    auto writer = storage_.Create(path);
    if (!writer.ok()) return writer.status();
    return std::make_unique<FaultyWriter>(*std::move(writer), *storage_.LocalPath(path), plan_);
  }
  absl::Status WriteFileAtomically(const std::string& path, std::string_view contents) override {
    return plan_.Fails() ? Failure() : storage_.WriteFileAtomically(path, contents);
  }
  absl::StatusOr<std::string> Read(const std::string& path, uint64_t limit) override {
    if (plan_.Fails()) return Failure();
    return storage_.Read(path, limit);
  }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    if (plan_.Fails()) return Failure();
    return storage_.FileSize(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    if (plan_.Fails()) return Failure();
    return storage_.List(directory);
  }
  absl::Status Delete(const std::string& path) override {
    return plan_.Fails() ? Failure() : storage_.Delete(path);
  }
  absl::StatusOr<uint64_t> FreeBytes() override { return storage_.FreeBytes(); }
  absl::StatusOr<fs::path> LocalPath(const std::string& path) override {
    return storage_.LocalPath(path);
  }

 private:
  Storage& storage_;
  Plan& plan_;
};

class FaultTest : public testing::TestWithParam<Mode> {};

TEST_P(FaultTest, AFailureAtAnyCallLeavesTheOldCheckpointAndNoNewOne) {
  TemporaryDirectory directory;
  DirectoryStorage storage(directory.path());
  const SampleState old_state(1), new_state(2);
  ASSERT_TRUE(WriteSample(storage, {10, 1}, old_state, 2).ok());

  WriteBytes(directory.path() / "source.model", "pieces");
  const ExtraFile extra[] = {{"tokenizer.model", directory.path() / "source.model"}};
  int fail_at = 1;
  while (true) {
    SCOPED_TRACE("failing at call " + std::to_string(fail_at));
    Plan plan{.fail_at = fail_at, .mode = GetParam()};
    FaultyStorage faulty(storage, plan);
    const absl::Status status = WriteSample(faulty, {20, 1}, new_state, 2, extra);
    if (plan.calls < fail_at) {
      ASSERT_TRUE(status.ok()) << status;
      break;
    }
    ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
    ASSERT_THAT(*ListCompleteCheckpoints(storage, kCheckpoints),
                ElementsAre("000000000010-000001"));
    const auto newest = FindNewestVerified(storage, kCheckpoints);
    ASSERT_TRUE(newest.ok() && newest->found.has_value());
    ASSERT_EQ(newest->found->name, "000000000010-000001");
    // The next try begins in what this one left.
    ++fail_at;
  }
  EXPECT_GT(fail_at, 30);
  const auto newest = FindNewestVerified(storage, kCheckpoints);
  ASSERT_TRUE(newest.ok() && newest->found.has_value());
  EXPECT_EQ(newest->found->name, "000000000020-000001");
  TensorSet loaded = new_state.model.Zeros();
  ASSERT_TRUE(LoadTensors(*storage.LocalPath(PathOf({20, 1})), loaded.tensors()).ok());
  EXPECT_EQ(loaded.tensors()[0].tensor.f32()[3], new_state.model.tensors()[0].tensor.f32()[3]);
}

INSTANTIATE_TEST_SUITE_P(Modes, FaultTest, testing::Values(Mode::kOnce, Mode::kCrash),
                         [](const auto& info) {
                           return std::string(info.param == Mode::kOnce ? "Once" : "Crash");
                         });

TEST(FullDisk, FailsTheSaveAndLeavesTheOldCheckpointGood) {
  TemporaryDirectory directory;
  DirectoryStorage storage(directory.path());
  ASSERT_TRUE(WriteSample(storage, {10, 1}, SampleState(1), 1).ok());
  const fs::path next = *storage.LocalPath(PathOf({20, 1}));
  fs::create_directory(next);
  fs::create_symlink("/dev/full", next / "optimizer-00001-of-00001.safetensors");
  const absl::Status status = WriteSample(storage, {20, 1}, SampleState(2), 1);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(FindNewestVerified(storage, kCheckpoints)->found->name, "000000000010-000001");
  // With space again, the same directory can be written.
  EXPECT_TRUE(WriteSample(storage, {20, 1}, SampleState(2), 1).ok());
  EXPECT_EQ(FindNewestVerified(storage, kCheckpoints)->found->name, "000000000020-000001");
}

// Cuts or flips any file of a complete checkpoint, the manifest included.
TEST(Damage, ToAnyFileIsFoundAndTheOlderCheckpointTaken) {
  TemporaryDirectory directory;
  DirectoryStorage storage(directory.path());
  ASSERT_TRUE(WriteSample(storage, {10, 1}, SampleState(1), 2).ok());
  ASSERT_TRUE(WriteSample(storage, {20, 1}, SampleState(2), 2).ok());
  const fs::path newest = *storage.LocalPath(PathOf({20, 1}));
  std::vector<std::string> names = {kManifestFile};
  const auto manifest = VerifyCheckpoint(newest, VerifyLevel::kFull);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  for (const auto& file : manifest->files) names.push_back(file.name);
  const auto expect_older = [&] {
    const auto found = FindNewestVerified(storage, kCheckpoints);
    ASSERT_TRUE(found.ok() && found->found.has_value());
    EXPECT_EQ(found->found->name, "000000000010-000001");
  };
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const std::string whole = *ReadFile(newest / name);
    for (const size_t place : {size_t{0}, whole.size() / 3, whole.size() - 1}) {
      std::string flipped = whole;
      flipped[place] ^= 4;
      WriteBytes(newest / name, flipped);
      expect_older();
      WriteBytes(newest / name, whole.substr(0, place));
      expect_older();
    }
    fs::remove(newest / name);
    expect_older();
    WriteBytes(newest / name, whole);
  }
  EXPECT_EQ(FindNewestVerified(storage, kCheckpoints)->found->name, "000000000020-000001");
}

}  // namespace
}  // namespace wavefield
