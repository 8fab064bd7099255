#include "core/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "core/base/checksum.h"
#include "tests/core/data/scratch_directory.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

// A dataset of the tokenizer "bytes" whose training tokens are 0, 1, …, 99 and separators, in
// shards of ten segments.
DatasetManifest WriteDataset(const ScratchDirectory& scratch) {
  TokenizerDescription tokenizer;
  tokenizer.kind = "bytes";
  tokenizer.separator_id = 256;
  tokenizer.vocab_size = 257;
  tokenizer.token_bytes.assign(257, 1);
  tokenizer.token_bytes[256] = 0;
  scratch.Write(kTokenizerFile, tokenizer.ToJson());

  DatasetManifest manifest;
  manifest.name = "numbers";
  manifest.tokenizer = {.kind = "bytes",
                        .vocab_size = 257,
                        .requested_vocab_size = 257,
                        .separator_id = 256,
                        .sha256 = Sha256Hex(tokenizer.ToJson()),
                        .model_sha256 = ""};
  const auto add = [&](SplitManifest& split, const std::string& file, int32_t first, int32_t last) {
    auto writer = ShardWriter::Create(scratch.path() / file, 257, 256);
    EXPECT_TRUE(writer.ok()) << writer.status();
    for (int32_t id = first; id < last; ++id) {
      EXPECT_TRUE(writer->Append(std::vector<int32_t>{id, 256}, 1, true).ok());
    }
    const auto header = writer->Finish();
    EXPECT_TRUE(header.ok()) << header.status();
    split.shards.push_back({.file = file,
                            .tokens = static_cast<int64_t>(header->tokens),
                            .segments = static_cast<int64_t>(header->segments),
                            .documents = static_cast<int64_t>(header->documents),
                            .text_bytes = static_cast<int64_t>(header->text_bytes),
                            .sha256 = header->payload_sha256});
  };
  for (int32_t shard = 0; shard < 10; ++shard) {
    add(manifest.train, "train-" + std::to_string(shard) + ".tokens", shard * 10, shard * 10 + 10);
  }
  add(manifest.validation, "validation-0.tokens", 200, 205);
  manifest.options = {{"field", "text"}};
  manifest.sources.push_back({.path = "numbers.txt",
                              .bytes = 105,
                              .sha256 = std::string(64, 'a'),
                              .documents = 1,
                              .text_bytes = 105,
                              .invalid_utf8 = 2,
                              .first_invalid_offset = 17});
  scratch.Write(kDatasetManifestFile, manifest.ToJson());
  return manifest;
}

absl::Status OpenStatus(const ScratchDirectory& scratch, VerifyMode mode) {
  return Dataset::Open(scratch.path(), mode).status();
}

TEST(Dataset, ReadsAcrossShards) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  auto dataset = Dataset::Open(scratch.path(), VerifyMode::kFull);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const TokenStream& train = dataset->train();
  ASSERT_EQ(train.size(), 200);
  EXPECT_EQ(dataset->validation().size(), 10);
  EXPECT_EQ(dataset->vocab_size(), 257);
  EXPECT_EQ(dataset->token_bytes()[65], 1);
  EXPECT_EQ(dataset->token_bytes()[256], 0);
  SeededRandom random;
  for (int round = 0; round < 500; ++round) {
    const auto begin = static_cast<int64_t>(random.Below(201));
    std::vector<int32_t> tokens(random.Below(static_cast<uint64_t>(200 - begin) + 1));
    train.Copy(begin, tokens);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int64_t at = begin + static_cast<int64_t>(i);
      ASSERT_EQ(tokens[i], at % 2 == 0 ? at / 2 : 256) << "token " << at;
    }
  }
}

TEST(Dataset, AMovedDirectoryOpensAsBefore) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  ScratchDirectory other;
  const auto moved = other.path() / "moved";
  std::filesystem::copy(scratch.path(), moved);
  auto dataset = Dataset::Open(moved, VerifyMode::kFull);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  Dataset elsewhere = *std::move(dataset);
  EXPECT_EQ(elsewhere.train().size(), 200);
}

TEST(Dataset, WithoutAManifestItIsNotFinished) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  std::filesystem::remove(scratch.path() / kDatasetManifestFile);
  const absl::Status status = OpenStatus(scratch, VerifyMode::kQuick);
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no finished dataset"));
}

TEST(Dataset, AMissingShardIsNamed) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  std::filesystem::remove(scratch.path() / "train-3.tokens");
  const absl::Status status = OpenStatus(scratch, VerifyMode::kQuick);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("train-3.tokens"));
}

TEST(Dataset, AShardOfOtherTokensIsRefusedWithoutReadingThem) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  std::filesystem::copy_file(scratch.path() / "train-4.tokens", scratch.path() / "train-3.tokens",
                             std::filesystem::copy_options::overwrite_existing);
  const absl::Status status = OpenStatus(scratch, VerifyMode::kQuick);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("train-3.tokens"));
}

TEST(Dataset, AFlippedTokenIsFoundByFullVerificationOnly) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  std::string bytes = Contents(scratch.path() / "train-9.tokens");
  bytes[128] = static_cast<char>(bytes[128] ^ 1);
  scratch.Write("train-9.tokens", bytes);
  EXPECT_TRUE(OpenStatus(scratch, VerifyMode::kQuick).ok());
  const absl::Status status = OpenStatus(scratch, VerifyMode::kFull);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("train-9.tokens is corrupt at byte 128"));
}

TEST(Dataset, AChangedTokenizerIsRefused) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  scratch.Write(kTokenizerFile, Contents(scratch.path() / kTokenizerFile) + " ");
  const absl::Status status = OpenStatus(scratch, VerifyMode::kQuick);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer.json"));
}

TEST(Dataset, DamagedManifestsAreRefusedWithAReason) {
  ScratchDirectory scratch;
  WriteDataset(scratch);
  const std::string good = Contents(scratch.path() / kDatasetManifestFile);
  const std::pair<const char*, const char*> changes[] = {
      {"\"version\": 1", "\"version\": 2"},
      {"wavefield-dataset", "something-else"},
      {"\"file\": \"train-0.tokens\"", "\"file\": \"../train-0.tokens\""},
      {"\"tokens\": 20,", "\"tokens\": -20,"},
      {"\"tokens\": 20,", "\"tokens\": 21,"},
      {"\"tokens\": 20,", "\"tokens\": \"20\","},
      {"\"tokens\": 20,", "\"tokens\": 9000000000000000000,"},
      {"\"separator_id\": 256", "\"separator_id\": 257"},
      {"\"kind\": \"bytes\"", "\"kind\": \"bpe\""},
      {"\"shards\": [", "\"shards\": 7, \"x\": ["},
      {"{", "["},
  };
  for (const auto& [from, to] : changes) {
    std::string bad = good;
    const size_t at = bad.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bad.replace(at, std::string_view(from).size(), to);
    scratch.Write(kDatasetManifestFile, bad);
    const absl::Status status = OpenStatus(scratch, VerifyMode::kQuick);
    EXPECT_TRUE(absl::IsDataLoss(status)) << to << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("manifest.json is corrupt: ")) << to;
  }
}

TEST(DatasetManifest, SurvivesJson) {
  ScratchDirectory scratch;
  const DatasetManifest manifest = WriteDataset(scratch);
  auto read = DatasetManifest::FromJson(manifest.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToJson(), manifest.ToJson());
  EXPECT_EQ(read->sources[0].first_invalid_offset, 17);
}

TEST(DatasetManifest, ContentHashKnowsTokensAndTokenizerButNotNames) {
  ScratchDirectory scratch;
  DatasetManifest manifest = WriteDataset(scratch);
  const std::string hash = manifest.ContentHash();
  manifest.name = "renamed";
  manifest.sources.clear();
  EXPECT_EQ(manifest.ContentHash(), hash);
  std::swap(manifest.train.shards[0], manifest.train.shards[1]);
  EXPECT_NE(manifest.ContentHash(), hash);
  std::swap(manifest.train.shards[0], manifest.train.shards[1]);
  manifest.tokenizer.vocab_size = 300;
  EXPECT_NE(manifest.ContentHash(), hash);
}

TEST(TokenizerDescription, RefusesWhatDoesNotFit) {
  TokenizerDescription good;
  good.kind = "bytes";
  good.separator_id = 1;
  good.vocab_size = 3;
  good.token_bytes = {1, 0, 17};
  auto read = TokenizerDescription::FromJson(good.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->token_bytes, good.token_bytes);
  const std::pair<const char*, const char*> changes[] = {
      {"\"bytes\"", "\"words\""},
      {"\"vocab_size\": 3", "\"vocab_size\": 4"},
      {"010011", "01001"},
      {"010011", "01001g"},
      {"010011", ""},
      {"\"separator_id\": 1", "\"separator_id\": 3"},
      {"\"version\": 1", "\"version\": 2"},
      {"\"bytes\"", "\"bpe\""},
      {"\"bytes\"", "\"sentencepiece\""},
      {"\"separator_id\": 1", "\"separator_id\": -1"},
      {"\"token_bytes\"", "\"other\""},
  };
  for (const auto& [from, to] : changes) {
    std::string bad = good.ToJson();
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    EXPECT_TRUE(absl::IsDataLoss(TokenizerDescription::FromJson(bad).status())) << to;
  }
}

TEST(TokenizerDescription, IdsAloneMayHaveNeitherBytesNorSeparator) {
  TokenizerDescription ids;
  ids.kind = "ids";
  ids.vocab_size = 50'257;
  auto read = TokenizerDescription::FromJson(ids.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->vocab_size, 50'257);
  EXPECT_EQ(read->separator_id, kNoSeparator);
  EXPECT_TRUE(read->token_bytes.empty());
  ids.vocab_size = kMaxVocabSize + 1;
  EXPECT_TRUE(absl::IsDataLoss(TokenizerDescription::FromJson(ids.ToJson()).status()));
}

}  // namespace
}  // namespace wavefield
