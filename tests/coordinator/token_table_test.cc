#include "coordinator/server/token_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/file.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

class TokenFiles : public testing::Test {
 protected:
  absl::StatusOr<TokenTable> Load(const std::string& text) {
    const std::filesystem::path path = directory_.path() / "t";
    EXPECT_TRUE(WriteFileAtomically(path, text).ok());
    return TokenTable::Load(path.string());
  }
  // Of a file that must be refused.
  std::string ErrorOf(const std::string& text) {
    const auto table = Load(text);
    EXPECT_TRUE(absl::IsInvalidArgument(table.status())) << text << ": " << table.status();
    return std::string(table.status().message());
  }

  TemporaryDirectory directory_;
  const std::string token_ = kToken;
};

TEST_F(TokenFiles, LinesHaveANameOrNoneAndAreOfAdminsUnlessTheySayOtherwise) {
  const auto table = Load("# people\n\nann " + token_ + "\n" + std::string(20, 'x') + "\r\n" +
                          "ben " + std::string(16, 'b') + " role=viewer\n" + std::string(16, 'c') +
                          " expires=2027-01-31T12:00:00Z role=worker\n");
  ASSERT_TRUE(table.ok()) << table.status();
  const auto* ann = table->Find("Bearer " + token_);
  ASSERT_NE(ann, nullptr);
  EXPECT_EQ(ann->caller.name, "ann");
  EXPECT_EQ(ann->caller.role, Role::kAdmin);
  EXPECT_EQ(ann->expires, absl::InfiniteFuture());
  const auto* bare = table->Find("Bearer " + std::string(20, 'x'));
  ASSERT_NE(bare, nullptr);
  EXPECT_EQ(bare->caller.name, "line-4");
  EXPECT_EQ(bare->caller.role, Role::kAdmin);
  EXPECT_EQ(table->Find("Bearer " + std::string(16, 'b'))->caller.role, Role::kViewer);
  const auto* worker = table->Find("Bearer " + std::string(16, 'c'));
  ASSERT_NE(worker, nullptr);
  EXPECT_EQ(worker->caller.role, Role::kWorker);
  EXPECT_EQ(worker->expires,
            absl::FromCivil(absl::CivilSecond(2027, 1, 31, 12, 0, 0), absl::UTCTimeZone()));
  EXPECT_THAT(worker->digest, Not(HasSubstr("cccc")));
}

TEST_F(TokenFiles, OnlyAWholeTokenIsFound) {
  const auto table = Load("ann " + token_ + "\n");
  ASSERT_TRUE(table.ok()) << table.status();
  for (const std::string& wrong :
       {std::string(), token_, std::string("Bearer ann"), std::string("Bearer "),
        "bearer " + token_, "Bearer " + token_ + " ", "Bearer " + token_.substr(1)}) {
    EXPECT_EQ(table->Find(wrong), nullptr) << "'" << wrong << "'";
  }
}

TEST_F(TokenFiles, OldAndNewTokenOfOneNameAreBothGood) {
  const auto table = Load("ann " + token_ + "\nann " + std::string(16, 'n') + " role=user\n");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->Find("Bearer " + token_)->caller.name, "ann");
  EXPECT_EQ(table->Find("Bearer " + std::string(16, 'n'))->caller.name, "ann");
}

TEST_F(TokenFiles, ErrorsNameFileAndLineAndWhatIsAllowedAndShowNoToken) {
  const std::string secret = "hush-hush-secret-123";
  for (const std::string& line :
       {"ann surname " + secret, "ann " + secret + " role=root",
        "ann " + secret + " role=", "ann " + secret + " expires=tomorrow",
        "ann " + secret + " rol=admin", secret + " expire=2027-01-31T12:00:00Z",
        std::string("ann hush"), std::string(200, 'n') + " " + secret, "a\x01 " + secret}) {
    const std::string error = ErrorOf("# people\n" + line + "\n");
    EXPECT_THAT(error, HasSubstr("/t:2: ")) << line;
    EXPECT_THAT(error, HasSubstr("[role=viewer|user|worker|admin] [expires=")) << line;
    EXPECT_THAT(error, Not(HasSubstr("hush"))) << line;
  }
  EXPECT_THAT(ErrorOf("ann surname " + secret), HasSubstr("has 3 words"));
  EXPECT_THAT(ErrorOf("ann hush"), HasSubstr("at least 16"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("holds no token"));
  const std::string twice = ErrorOf("ann " + secret + "\nben " + secret + " role=viewer\n");
  EXPECT_THAT(twice, HasSubstr("/t:2: the token is that of line 1"));
  EXPECT_THAT(twice, Not(HasSubstr("hush")));
}

TEST_F(TokenFiles, ATokenMayEndLikeBase64AndBeLong) {
  EXPECT_TRUE(Load("ann c2VjcmV0LXNlY3JldA==\n").ok());
  EXPECT_TRUE(Load("ann abcdefghijklmnopqrstuvwxyz=\n").ok());
  EXPECT_TRUE(Load(std::string(500, 't') + "\n").ok());
}

}  // namespace
}  // namespace wavefield::coordinator
