#include "core/data/token_shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "core/base/checksum.h"
#include "tests/core/data/scratch_directory.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kVocab = 300;
constexpr int32_t kSeparator = 1;

// Two documents in three segments: seven tokens, of which the last is padded to eight bytes.
std::filesystem::path WriteShard(const ScratchDirectory& scratch, int64_t vocab_size = kVocab) {
  const auto path = scratch.path() / "train-00000.tokens";
  auto writer = ShardWriter::Create(path, vocab_size, kSeparator);
  EXPECT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(writer->Append(std::vector<int32_t>{5, 299, 7}, 11, false).ok());
  EXPECT_TRUE(writer->Append(std::vector<int32_t>{8, kSeparator}, 4, true).ok());
  EXPECT_TRUE(writer->Append(std::vector<int32_t>{0, kSeparator}, 1, true).ok());
  EXPECT_TRUE(writer->Finish().ok());
  return path;
}

void Overwrite(const std::filesystem::path& path, std::string_view contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

// Puts `value` at `offset` of a header and makes the header's checksum right again.
template <typename T>
std::string WithField(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  const uint32_t crc = Crc32c(std::string_view(bytes).substr(0, 124));
  std::memcpy(bytes.data() + 124, &crc, sizeof(crc));
  return bytes;
}

// Makes the digest in the header that of the contents.
std::string WithDigest(std::string bytes) {
  Sha256 hash;
  hash.Update(std::string_view(bytes).substr(128));
  const std::string hex = hash.HexDigest();
  for (size_t i = 0; i < 32; ++i) {
    bytes[56 + i] = static_cast<char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return WithField(bytes, 12, uint32_t{2});
}

// Where the message says that the file is corrupt.
int64_t ReportedOffset(const absl::Status& status) {
  const std::string message(status.message());
  const size_t at = message.find("at byte ");
  return at == std::string::npos ? -1 : std::stoll(message.substr(at + 8));
}

TEST(TokenShard, KeepsTokensAndSegments) {
  ScratchDirectory scratch;
  for (const int64_t vocab : {int64_t{300}, int64_t{65'536}, int64_t{65'537}, kMaxVocabSize}) {
    const auto path = WriteShard(scratch, vocab);
    auto shard = TokenShard::Open(path);
    ASSERT_TRUE(shard.ok()) << shard.status();
    EXPECT_TRUE(shard->Verify().ok()) << shard->Verify();
    EXPECT_EQ(shard->header().token_width, vocab <= 65'536 ? 2u : 4u);
    EXPECT_EQ(shard->header().documents, 2u);
    EXPECT_EQ(shard->header().text_bytes, 16u);
    std::vector<int32_t> tokens(7);
    shard->Copy(0, tokens);
    EXPECT_THAT(tokens, ElementsAre(5, 299, 7, 8, kSeparator, 0, kSeparator));
    tokens.resize(2);
    shard->Copy(3, tokens);
    EXPECT_THAT(tokens, ElementsAre(8, kSeparator));
    EXPECT_EQ(shard->segment(1).first_token, 3u);
    EXPECT_EQ(shard->segment(1).text_bytes, 4u);
    EXPECT_FALSE(shard->segment(0).ends_document);
    EXPECT_TRUE(shard->segment(2).ends_document);
  }
}

TEST(TokenShard, RefusesEveryFlippedByte) {
  ScratchDirectory scratch;
  const auto path = WriteShard(scratch);
  const std::string good = Contents(path);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    Overwrite(path, bad);
    auto shard = TokenShard::Open(path);
    const absl::Status status = shard.ok() ? shard->Verify() : shard.status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << "byte " << at << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path.string())) << "byte " << at;
    EXPECT_EQ(shard.ok(), at >= 128) << "byte " << at;
    EXPECT_EQ(ReportedOffset(status), at < 8 ? 0 : at < 12 ? 8 : at < 128 ? 124 : 128);
  }
}

TEST(TokenShard, RefusesEveryTruncationAndGrowth) {
  ScratchDirectory scratch;
  const auto path = WriteShard(scratch);
  const std::string good = Contents(path);
  for (size_t size = 0; size < good.size(); ++size) {
    Overwrite(path, good.substr(0, size));
    const absl::Status status = TokenShard::Open(path).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << size << ": " << status;
    EXPECT_GE(ReportedOffset(status), 0) << status;
  }
  Overwrite(path, good + "x");
  const absl::Status status = TokenShard::Open(path).status();
  EXPECT_EQ(ReportedOffset(status), static_cast<int64_t>(good.size())) << status;
}

struct ForgedField {
  const char* name;
  size_t offset;
  uint64_t value;
  size_t bytes;
};

class ForgedHeader : public testing::TestWithParam<ForgedField> {};

TEST_P(ForgedHeader, IsRefusedAtTheFieldThoughItsChecksumIsRight) {
  const ForgedField& field = GetParam();
  ScratchDirectory scratch;
  const auto path = WriteShard(scratch);
  const std::string good = Contents(path);
  Overwrite(path, field.bytes == 4
                      ? WithField(good, field.offset, static_cast<uint32_t>(field.value))
                      : WithField(good, field.offset, field.value));
  const absl::Status status = TokenShard::Open(path).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(ReportedOffset(status), static_cast<int64_t>(field.offset)) << status;
}

INSTANTIATE_TEST_SUITE_P(Fields, ForgedHeader,
                         testing::Values(ForgedField{"version", 8, 2, 4},
                                         ForgedField{"width", 12, 3, 4},
                                         ForgedField{"no_tokens", 16, 0, 8},
                                         ForgedField{"huge_tokens", 16, uint64_t{1} << 63, 8},
                                         ForgedField{"no_segments", 24, 0, 8},
                                         ForgedField{"huge_segments", 24, uint64_t{1} << 60, 8},
                                         ForgedField{"documents", 32, 4, 8},
                                         ForgedField{"text_bytes", 40, ~uint64_t{0}, 8},
                                         ForgedField{"no_vocabulary", 48, 0, 4},
                                         ForgedField{"vocabulary_beyond_width", 48, 65'537, 4},
                                         ForgedField{"separator", 52, kVocab, 4},
                                         ForgedField{"reserved", 88, 1, 4}),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(TokenShard, RefusesAHeaderOfAnotherSizeThanTheFile) {
  ScratchDirectory scratch;
  const auto path = WriteShard(scratch);
  Overwrite(path, WithField(Contents(path), 16, uint64_t{3}));
  EXPECT_THAT(std::string(TokenShard::Open(path).status().message()),
              HasSubstr("its header describes"));
}

// Contents that are wrong in themselves, although digest and checksum are right.
TEST(TokenShard, VerifyRefusesForgedContents) {
  ScratchDirectory scratch;
  const auto path = WriteShard(scratch);
  const std::string good = Contents(path);
  const size_t table = 128 + 16;
  const auto verify = [&](size_t offset, char value) {
    std::string bad = good;
    bad[offset] = value;
    Overwrite(path, WithDigest(bad));
    auto shard = TokenShard::Open(path);
    EXPECT_TRUE(shard.ok()) << shard.status();
    return shard->Verify();
  };
  EXPECT_EQ(ReportedOffset(verify(128 + 2 * 2 + 1, 0x7F)), 128 + 4);         // an id
  EXPECT_EQ(ReportedOffset(verify(table, 1)), static_cast<int64_t>(table));  // the first segment
  EXPECT_EQ(ReportedOffset(verify(table + 16, 0)), static_cast<int64_t>(table));  // an empty one
  EXPECT_EQ(ReportedOffset(verify(table + 32, 9)), static_cast<int64_t>(table + 16));  // too far
  EXPECT_EQ(ReportedOffset(verify(table + 8, 9)), static_cast<int64_t>(table));   // bytes of text
  EXPECT_EQ(ReportedOffset(verify(table + 12, 1)), static_cast<int64_t>(table));  // no separator
}

TEST(TokenShardDeathTest, CopyStopsAtAnIdOutsideTheVocabulary) {
  ScratchDirectory scratch;
  const auto path = WriteShard(scratch);
  std::string bad = Contents(path);
  bad[128 + 5] = 0x7F;
  Overwrite(path, bad);
  auto shard = TokenShard::Open(path);
  ASSERT_TRUE(shard.ok()) << shard.status();
  std::vector<int32_t> tokens(7);
  EXPECT_DEATH(shard->Copy(0, tokens), "train-00000.tokens");
}

TEST(TokenShard, AMissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(TokenShard::Open("/nonexistent/x.tokens").status()));
}

}  // namespace
}  // namespace wavefield
