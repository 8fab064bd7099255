#include "worker/agent/rank_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using ::testing::ElementsAre;

std::string Contents(const std::filesystem::path& path) {
  const auto contents = ReadFile(path);
  return contents.ok() ? *contents : "absent";
}

TEST(RankLog, RotatesAtTheEndOfALineAndKeepsSoManyFiles) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "job" / "rank.log";
  RankLog log(path, {.max_bytes = 10, .keep = 2});
  log.Write("first line\nsecond");
  log.Write(" line\nthird line\nfourth line\nfif");
  log.Write("th");
  EXPECT_EQ(Contents(path), "fifth");
  EXPECT_EQ(Contents(path.string() + ".1"), "fourth line\n");
  EXPECT_EQ(Contents(path.string() + ".2"), "third line\n");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".3"));
}

TEST(RankLog, StaysBoundedWithoutAnyNewline) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "rank.log";
  RankLog log(path, {.max_bytes = 1000, .keep = 1});
  for (int i = 0; i < 1000; ++i) log.Write(std::string(100, 'x'));
  uintmax_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    total += entry.file_size();
  }
  EXPECT_LE(total, 5000u);
}

TEST(RankLog, DiscardsAllOfItsFiles) {
  const TemporaryDirectory directory;
  RankLog log(directory.path() / "rank.log", {.max_bytes = 4, .keep = 2});
  log.Write("line 1\nline 2\nline 3\n");
  EXPECT_FALSE(std::filesystem::is_empty(directory.path()));
  log.Discard();
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(RankLog, AppendsToWhatIsThere) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "rank.log";
  RankLog(path, {}).Write("one\n");
  RankLog(path, {}).Write("two\n");
  EXPECT_EQ(Contents(path), "one\ntwo\n");
}

TEST(RankLog, RemembersTheLastLinesEvenWhereTheDiskRefuses) {
  RankLog log("/proc/no/such/place/rank.log", {.tail_lines = 3});
  for (int i = 1; i <= 5; ++i) log.Write("line " + std::to_string(i) + "\n");
  EXPECT_THAT(log.LastLines(), ElementsAre("line 3", "line 4", "line 5"));
  log.Write("unfini");
  log.Write("shed");
  EXPECT_THAT(log.LastLines(), ElementsAre("line 4", "line 5", "unfinished"));
}

TEST(RankLog, LastLinesAreValidUtf8AndShort) {
  const TemporaryDirectory directory;
  RankLog log(directory.path() / "rank.log", {});
  log.Write("caf\xc3\xa9 \xff\xc0\x80 \xed\xa0\x80 \xf0\x9f\x98\x80\n");
  log.Write(std::string(100000, 'x') + "\n");
  const std::vector<std::string> lines = log.LastLines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "caf\xc3\xa9 ??? ??? \xf0\x9f\x98\x80");
  EXPECT_LT(lines[1].size(), 600u);
}

}  // namespace
}  // namespace wavefield
