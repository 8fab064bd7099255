#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/checksum.h"
#include "core/checkpoint/snapshot.h"
#include "tests/core/checkpoint/complete_checkpoints.h"
#include "tests/core/checkpoint/forwarding_storage.h"
#include "tests/core/checkpoint/sample_checkpoint.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class CheckpointTest : public testing::Test {
 protected:
  fs::path Local(const CheckpointId& id) { return *storage_.LocalPath(PathOf(id)); }

  TemporaryDirectory directory_;
  DirectoryStorage storage_{directory_.path()};
};

TEST(CheckpointName, SortsAndParses) {
  EXPECT_EQ(CheckpointDirectoryName({400, 2}), "000000000400-000002");
  EXPECT_EQ(ParseCheckpointDirectoryName("000000000400-000002"), (CheckpointId{400, 2}));
  EXPECT_EQ(ParseCheckpointDirectoryName("1000000000000-1000000"),
            (CheckpointId{1'000'000'000'000, 1'000'000}));
  for (const std::string name :
       {"", "-", "400-2", "000000000400", "000000000400-00002x", "000000000400-000002-1",
        "+00000000400-000002", "99999999999999999999-000001"}) {
    EXPECT_EQ(ParseCheckpointDirectoryName(name), std::nullopt) << name;
  }
}

TEST(TensorAssignment, IsBalancedAndIndependentOfOrder) {
  const SampleState state(1);
  std::vector<NamedTensor> tensors = state.optimizer.tensors();
  for (const int world_size : {1, 2, 3, 20}) {
    const std::vector<int> owners = AssignTensorsToRanks(tensors, world_size);
    std::vector<NamedTensor> reversed(tensors.rbegin(), tensors.rend());
    std::vector<int> again = AssignTensorsToRanks(reversed, world_size);
    std::reverse(again.begin(), again.end());
    EXPECT_EQ(owners, again);
    size_t total = 0, largest = 0;
    std::vector<size_t> load(static_cast<size_t>(world_size));
    for (size_t i = 0; i < tensors.size(); ++i) {
      load[static_cast<size_t>(owners[i])] += tensors[i].tensor.bytes();
      total += tensors[i].tensor.bytes();
      largest = std::max(largest, tensors[i].tensor.bytes());
    }
    EXPECT_LE(*std::max_element(load.begin(), load.end()),
              total / static_cast<size_t>(world_size) + largest);
  }
}

class WorldSizeTest : public CheckpointTest, public testing::WithParamInterface<int> {};

TEST_P(WorldSizeTest, LoadsTheBitsThatWereSaved) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const SampleState state(seed);
  ASSERT_TRUE(WriteSample(storage_, {400, 2}, state, GetParam()).ok());
  const auto manifest = VerifyCheckpoint(Local({400, 2}), VerifyLevel::kFull);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  CheckpointManifest expected = SampleManifest({400, 2}, GetParam());
  expected.files = manifest->files;
  EXPECT_TRUE(*manifest == expected);
  EXPECT_EQ(manifest->files.size(), static_cast<size_t>(2 * GetParam() + 1));

  TensorSet model = state.model.Zeros(), optimizer = state.optimizer.Zeros();
  ASSERT_TRUE(LoadTensors(Local({400, 2}), model.tensors()).ok());
  ASSERT_TRUE(LoadTensors(Local({400, 2}), optimizer.tensors(), TensorGroup::kOptimizer).ok());
  for (size_t i = 0; i < model.tensors().size(); ++i) {
    const Tensor &a = model.tensors()[i].tensor, &b = state.model.tensors()[i].tensor;
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0) << model.tensors()[i].name;
  }
  for (size_t i = 0; i < optimizer.tensors().size(); ++i) {
    const Tensor &a = optimizer.tensors()[i].tensor, &b = state.optimizer.tensors()[i].tensor;
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0) << optimizer.tensors()[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, WorldSizeTest, testing::Values(1, 2, 3, 8));

TEST_P(WorldSizeTest, SnapshotsAreWrittenAsTheTensorsWereWhenTheyWereTaken) {
  const SampleState state(1), changed(2);
  ASSERT_TRUE(WriteSample(storage_, {1, 1}, state, GetParam()).ok());
  std::vector<ShardSnapshot> snapshots;
  for (int rank = 0; rank < GetParam(); ++rank) {
    snapshots.emplace_back(state.model.tensors(), state.optimizer.tensors(), rank, GetParam())
        .Take();
  }
  for (size_t i = 0; i < state.model.tensors().size(); ++i) {
    const Tensor &to = state.model.tensors()[i].tensor, &from = changed.model.tensors()[i].tensor;
    std::memcpy(to.data, from.data, to.bytes());
  }
  uint64_t bytes = 0;
  for (int rank = 0; rank < GetParam(); ++rank) {
    const ShardSnapshot& mine = snapshots[static_cast<size_t>(rank)];
    ASSERT_TRUE(WriteCheckpointShard(storage_, PathOf({1, 2}), rank, GetParam(), mine.model(),
                                     mine.optimizer(),
                                     {{"format", "wavefield"}, {"config", "{\"form\":\"modern\"}"}})
                    .ok());
    bytes += mine.bytes();
  }
  ASSERT_TRUE(
      CommitCheckpoint(storage_, PathOf({1, 2}), SampleManifest({1, 2}, GetParam()), {}).ok());
  EXPECT_EQ(VerifyCheckpoint(Local({1, 2}), VerifyLevel::kFull)->files,
            VerifyCheckpoint(Local({1, 1}), VerifyLevel::kFull)->files);
  uint64_t expected = 0;
  for (const auto& set : {&state.model, &state.optimizer}) {
    for (const NamedTensor& named : set->tensors()) expected += named.tensor.bytes();
  }
  EXPECT_EQ(bytes, expected);
}

TEST_F(CheckpointTest, AWriterThatIsCancelledLeavesNoSidecar) {
  // Asks for the end when so many files were begun.
  struct Stopping final : ForwardingStorage {
    Stopping(Storage& storage, int files) : ForwardingStorage(storage), left(files) {}
    absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
      if (--left == 0) stop.request_stop();
      return ForwardingStorage::Create(path);
    }
    int left;
    std::stop_source stop;
  };
  const SampleState state(1);
  for (const int files : {1, 2}) {
    Stopping stopping(storage_, files);
    const absl::Status status =
        WriteCheckpointShard(stopping, PathOf({1, 1}), 0, 1, state.model.tensors(),
                             state.optimizer.tensors(), {}, stopping.stop.get_token());
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_EQ(storage_.List(PathOf({1, 1}))->size(), static_cast<size_t>(files - 1));
  }
}

TEST_F(CheckpointTest, RoomIsTheBytesAndFivePercentMore) {
  struct Small final : ForwardingStorage {
    using ForwardingStorage::ForwardingStorage;
    absl::StatusOr<uint64_t> FreeBytes() override { return 1050; }
  };
  Small small(storage_);
  EXPECT_TRUE(CheckRoom(small, 1000).ok());
  const absl::Status status = CheckRoom(small, 1020);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("needs 1071 bytes"), HasSubstr("1050 are free")));
}

TEST_F(CheckpointTest, TheIndexNamesTheFileOfEveryModelTensor) {
  const SampleState state(1);
  ASSERT_TRUE(WriteSample(storage_, {1, 1}, state, 2).ok());
  const auto index =
      nlohmann::json::parse(*ReadFile(Local({1, 1}) / "model.safetensors.index.json"));
  size_t bytes = 0;
  for (const NamedTensor& named : state.model.tensors()) {
    const fs::path file = Local({1, 1}) / index.at("weight_map").at(named.name).get<std::string>();
    const auto opened = SafetensorsFile::Open(file);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(opened->entries().contains(named.name));
    EXPECT_EQ(opened->metadata().at("format"), "wavefield");
    bytes += named.tensor.bytes();
  }
  EXPECT_EQ(index.at("weight_map").size(), state.model.tensors().size());
  EXPECT_EQ(index.at("metadata").at("total_size"), bytes);
}

TEST_F(CheckpointTest, ExtraFilesAreCopiedAndVerified) {
  WriteBytes(directory_.path() / "source.model", "pieces");
  const ExtraFile extra[] = {{"tokenizer.model", directory_.path() / "source.model"}};
  ASSERT_TRUE(WriteSample(storage_, {1, 1}, SampleState(1), 1, extra).ok());
  EXPECT_EQ(*ReadFile(Local({1, 1}) / "tokenizer.model"), "pieces");
  WriteBytes(Local({1, 1}) / "tokenizer.model", "PIECES");
  EXPECT_TRUE(VerifyCheckpoint(Local({1, 1}), VerifyLevel::kQuick).ok());
  EXPECT_THAT(std::string(VerifyCheckpoint(Local({1, 1}), VerifyLevel::kFull).status().message()),
              HasSubstr("tokenizer.model"));
}

TEST_F(CheckpointTest, AMissingExtraFileFailsTheCommit) {
  const ExtraFile extra[] = {{"tokenizer.model", directory_.path() / "absent"}};
  EXPECT_TRUE(absl::IsNotFound(WriteSample(storage_, {1, 1}, SampleState(1), 1, extra)));
  EXPECT_THAT(*ListCompleteCheckpoints(storage_, kCheckpoints), IsEmpty());
}

TEST_F(CheckpointTest, ACompleteCheckpointIsNotWrittenAgain) {
  const SampleState state(1);
  ASSERT_TRUE(WriteSample(storage_, {1, 1}, state, 1).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(WriteSample(storage_, {1, 1}, state, 1)));
  EXPECT_TRUE(absl::IsAlreadyExists(
      CommitCheckpoint(storage_, PathOf({1, 1}), SampleManifest({1, 1}, 1), {}).status()));
}

TEST_F(CheckpointTest, CommitFailsUnlessEveryRankHasWritten) {
  const SampleState state(1);
  for (const int rank : {0, 2}) {
    ASSERT_TRUE(WriteCheckpointShard(storage_, PathOf({1, 1}), rank, 3, state.model.tensors(),
                                     state.optimizer.tensors(), {})
                    .ok());
  }
  const absl::Status status =
      CommitCheckpoint(storage_, PathOf({1, 1}), SampleManifest({1, 1}, 3), {}).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank-00001.json"));
  EXPECT_THAT(*ListCompleteCheckpoints(storage_, kCheckpoints), IsEmpty());
}

TEST_F(CheckpointTest, CommitFailsWhenAFileIsNotAsItsRankWroteIt) {
  const SampleState state(1);
  ASSERT_TRUE(WriteCheckpointShard(storage_, PathOf({1, 1}), 0, 1, state.model.tensors(),
                                   state.optimizer.tensors(), {})
                  .ok());
  fs::resize_file(Local({1, 1}) / "model-00001-of-00001.safetensors", 100);
  const absl::Status status =
      CommitCheckpoint(storage_, PathOf({1, 1}), SampleManifest({1, 1}, 1), {}).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model-00001-of-00001"));
}

TEST_F(CheckpointTest, LoadNamesMissingUnexpectedAndMisshapenTensors) {
  const SampleState state(1);
  ASSERT_TRUE(WriteSample(storage_, {1, 1}, state, 2).ok());
  TensorSet other;
  other.Add("embedding.weight", {13, 8});
  other.Add("layers.0.mixer.phase", {2});
  const absl::Status status = LoadTensors(Local({1, 1}), other.tensors());
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("missing tensors 'layers.0.mixer.phase'"),
                    HasSubstr("unexpected tensors"), HasSubstr("'norm.weight'")));

  TensorSet misshapen;
  misshapen.Add("norm.weight", {9});
  EXPECT_THAT(std::string(LoadTensors(Local({1, 1}), misshapen.tensors()).message()),
              AllOf(HasSubstr("'norm.weight'"), HasSubstr("[8]"), HasSubstr("[9]")));
}

TEST_F(CheckpointTest, LoadsPlainSafetensorsFromAFileAndADirectory) {
  const SampleState state(7);
  ASSERT_TRUE(
      WriteSafetensors(storage_, "plain/model.safetensors", state.model.tensors(), {}).ok());
  for (const fs::path& path :
       {directory_.path() / "plain", directory_.path() / "plain" / "model.safetensors"}) {
    TensorSet loaded = state.model.Zeros();
    ASSERT_TRUE(LoadTensors(path, loaded.tensors()).ok());
    EXPECT_EQ(loaded.tensors()[0].tensor.f32()[5], state.model.tensors()[0].tensor.f32()[5]);
  }
  EXPECT_TRUE(absl::IsNotFound(LoadTensors(directory_.path() / "absent", {})));
  fs::create_directory(directory_.path() / "bare");
  EXPECT_TRUE(absl::IsNotFound(LoadTensors(directory_.path() / "bare", {})));
}

TEST_F(CheckpointTest, ListsCompleteOnesNewestFirst) {
  const SampleState state(1);
  for (const CheckpointId id :
       {CheckpointId{5, 1}, CheckpointId{10, 1}, CheckpointId{10, 2}, CheckpointId{7, 3}}) {
    ASSERT_TRUE(WriteSample(storage_, id, state, 1).ok());
  }
  ASSERT_TRUE(WriteSafetensors(storage_, PathOf({99, 9}) + "/model-00001-of-00001.safetensors",
                               state.model.tensors(), {})
                  .ok());
  ASSERT_TRUE(storage_.WriteFileAtomically(std::string(kCheckpoints) + "/notes", "").ok());
  EXPECT_THAT(*ListCompleteCheckpoints(storage_, kCheckpoints),
              ElementsAre("000000000010-000002", "000000000010-000001", "000000000007-000003",
                          "000000000005-000001"));
  EXPECT_THAT(*ListCompleteCheckpoints(storage_, "jobs/other/checkpoints"), IsEmpty());
}

TEST_F(CheckpointTest, RemovesWhatEarlierAttemptsLeftIncomplete) {
  const SampleState state(1);
  ASSERT_TRUE(WriteSample(storage_, {5, 1}, state, 1).ok());
  for (const CheckpointId id : {CheckpointId{6, 1}, CheckpointId{7, 2}, CheckpointId{8, 3}}) {
    ASSERT_TRUE(WriteCheckpointShard(storage_, PathOf(id), 0, 2, state.model.tensors(),
                                     state.optimizer.tensors(), {})
                    .ok());
  }
  EXPECT_THAT(*RemoveIncompleteCheckpoints(storage_, kCheckpoints, 3),
              ElementsAre("000000000006-000001", "000000000007-000002"));
  EXPECT_THAT(*storage_.List(kCheckpoints),
              ElementsAre("000000000005-000001", "000000000008-000003"));
}

TEST_F(CheckpointTest, FindFallsBackToTheNewestThatVerifiesAndSaysWhy) {
  const SampleState state(1);
  for (const uint64_t step : {10, 20, 30, 40}) {
    ASSERT_TRUE(WriteSample(storage_, {step, 1}, state, 1).ok());
  }
  const std::string shard = "optimizer-00001-of-00001.safetensors";
  std::string bytes = *ReadFile(Local({40, 1}) / shard);
  bytes[bytes.size() / 2] ^= 1;
  WriteBytes(Local({40, 1}) / shard, bytes);
  fs::resize_file(Local({30, 1}) / shard, 17);
  fs::remove(Local({20, 1}) / shard);

  const auto newest = FindNewestVerified(storage_, kCheckpoints);
  ASSERT_TRUE(newest.ok()) << newest.status();
  ASSERT_TRUE(newest->found.has_value());
  EXPECT_EQ(newest->found->name, "000000000010-000001");
  EXPECT_EQ(newest->found->manifest.step, 10u);
  ASSERT_EQ(newest->rejected.size(), 3u);
  const std::string reasons[] = {"SHA-256", "17 bytes", "missing"};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(absl::IsDataLoss(newest->rejected[i].reason));
    EXPECT_THAT(std::string(newest->rejected[i].reason.message()),
                AllOf(HasSubstr(shard), HasSubstr(reasons[i])));
  }
}

TEST_F(CheckpointTest, FindSaysWhenThereIsNone) {
  const auto newest = FindNewestVerified(storage_, kCheckpoints);
  ASSERT_TRUE(newest.ok());
  EXPECT_FALSE(newest->found.has_value());
  EXPECT_THAT(newest->rejected, IsEmpty());
}

}  // namespace
}  // namespace wavefield
