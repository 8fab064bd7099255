#include "proto/rpc/token_file.h"

#include <gtest/gtest.h>

#include "tests/cli/command_runner.h"

namespace wavefield {
namespace {

TEST(TokenFiles, HoldTheTokenOfTheirFirstLineThatHasOne) {
  const TemporaryDirectory directory;
  const auto read = [&](const std::string& text) {
    return TokenFile::Read(directory.Write("token", text));
  };
  for (const char* text : {"secret-1", "secret-1\n", "\n  secret-1 \r\nother\n", "ann secret-1\n",
                           "# mine\nann secret-1 role=user expires=2027-01-31T12:00:00Z\n"}) {
    const auto token = read(text);
    ASSERT_TRUE(token.ok()) << token.status();
    EXPECT_EQ(*token, "secret-1") << text;
  }
  for (const char* text : {"", "\n\n", "# nothing\n"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(read(text).status())) << "'" << text << "'";
  }
}

TEST(TokenFiles, AreReadAgainWhenTheyChange) {
  const TemporaryDirectory directory;
  const auto file = TokenFile::Open(directory.Write("token", "first-token\n"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Current(), "first-token");
  directory.Write("token", "the-second-token\n");
  EXPECT_EQ((*file)->Current(), "the-second-token");
}

TEST(TokenFiles, ThatCannotBeReadLeaveTheTokenAsItWas) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("token", "first-token\n");
  const auto file = TokenFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  directory.Write("token", "\n");
  EXPECT_EQ((*file)->Current(), "first-token");
  std::filesystem::remove(path);
  EXPECT_EQ((*file)->Current(), "first-token");
  directory.Write("token", "third-token\n");
  EXPECT_EQ((*file)->Current(), "third-token");
}

}  // namespace
}  // namespace wavefield
