#include "worker/trainer/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;

TEST(AuditLength, IsAsTrainedWithinWhatIsCheap) {
  EXPECT_EQ(*AuditLength(0, 64, 448), 64);
  EXPECT_EQ(*AuditLength(0, 131072, 448), 512);
  EXPECT_EQ(*AuditLength(0, 1, 448), 2);
  EXPECT_EQ(*AuditLength(0, 4096, 1 << 20), 64) << "4 · 4 bytes · 2^20 ids · 64 are 1 GiB";
}

TEST(AuditLength, AskedForIsTakenWithinItsBounds) {
  EXPECT_EQ(*AuditLength(2, 64, 448), 2);
  EXPECT_EQ(*AuditLength(4096, 64, 448), 4096);
  EXPECT_EQ(*AuditLength(1024, 64, 50304), 1024);
  EXPECT_TRUE(absl::IsInvalidArgument(AuditLength(1, 64, 448).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(AuditLength(4097, 64, 448).status()));
}

TEST(AuditLength, LogitsThatWouldTakeTooMuchMemoryAreRefusedWithWhatToDo) {
  const absl::Status refused = AuditLength(4096, 64, 50304).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("3.1 GiB"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("at most 1334"));
  EXPECT_TRUE(AuditLength(1334, 64, 50304).ok());
}

// A stream of 0, 1, 2, …
class SpreadWindowsTest : public ::testing::Test {
 protected:
  TokenStream Count(int32_t tokens) {
    std::vector<int32_t> ids(static_cast<size_t>(tokens));
    std::iota(ids.begin(), ids.end(), 0);
    const auto path = directory_.path() / "ids.tokens";
    auto writer = ShardWriter::Create(path, 1000, kNoSeparator);
    EXPECT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(writer->Append(ids, 0, false).ok());
    EXPECT_TRUE(writer->Finish().ok());
    auto shard = TokenShard::Open(path);
    EXPECT_TRUE(shard.ok()) << shard.status();
    std::vector<TokenShard> shards;
    shards.push_back(*std::move(shard));
    return TokenStream(std::move(shards));
  }
  TemporaryDirectory directory_;
};

TEST_F(SpreadWindowsTest, CoverTheTextFromItsFirstTokenToItsLast) {
  const auto windows = SpreadWindows(Count(100), 3, 10);
  ASSERT_EQ(windows.size(), 3u);
  for (const auto& window : windows) EXPECT_EQ(window.size(), 10u);
  EXPECT_EQ(windows[0].front(), 0);
  EXPECT_EQ(windows[1].front(), 45);
  EXPECT_EQ(windows[2].back(), 99);
}

TEST_F(SpreadWindowsTest, AreAsManyAsFitWithoutOverlap) {
  const auto windows = SpreadWindows(Count(25), 8, 10);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_LT(windows[0].back(), windows[1].front());
}

TEST_F(SpreadWindowsTest, AreOneShorterWindowOfAShortText) {
  const auto windows = SpreadWindows(Count(7), 4, 10);
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].size(), 7u);
}

}  // namespace
}  // namespace wavefield
