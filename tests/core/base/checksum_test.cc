#include "core/base/checksum.h"

#include <gtest/gtest.h>

#include "core/base/file.h"

namespace wavefield {
namespace {

TEST(Crc32c, GivesTheCheckValue) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(Crc32c, ContinuesAnEarlierOne) { EXPECT_EQ(Crc32c("6789", Crc32c("12345")), 0xe3069283u); }

// FIPS 180-2, B.1 and B.3
TEST(Sha256, GivesTheKnownAnswers) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, MayBeFedInPieces) {
  Sha256 hash;
  for (const char c : std::string("abc")) hash.Update({&c, 1});
  EXPECT_EQ(hash.HexDigest(), Sha256Hex("abc"));
}

TEST(Sha256, OfAFileThatIsMissingIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(Sha256HexOfFile("/nonexistent/file").status()));
}

}  // namespace
}  // namespace wavefield
