#include "core/checkpoint/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/base/checksum.h"
#include "tests/core/checkpoint/sample_checkpoint.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(StoragePath, RefusesWhatCouldLeaveTheRootOrSurprise) {
  for (const std::string& path :
       {std::string(""), std::string("/etc/passwd"), std::string(".."), std::string("a/../b"),
        std::string("a/./b"), std::string("a//b"), std::string("a/"), std::string("a b"),
        std::string("a\0b", 3), std::string("a\nb"), std::string("ä"), std::string("a\\b"),
        std::string("~"), std::string(256, 'x'), std::string(1025, 'x')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ValidateStoragePath(path))) << path;
  }
}

TEST(StoragePath, AcceptsPlainRelativePaths) {
  for (const std::string path :
       {"a", "jobs/j1/checkpoints/000000000400-000002", "a.b_c-D9", "..a", "a..b", ".probe"}) {
    EXPECT_TRUE(ValidateStoragePath(path).ok()) << path;
  }
}

class DirectoryStorageTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  DirectoryStorage storage_{directory_.path() / "root"};
};

TEST_F(DirectoryStorageTest, EveryOperationRefusesABadPath) {
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.Create("../x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.WriteFileAtomically("../x", "")));
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.Read("../x", 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.FileSize("../x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.List("../x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.Delete("..")));
  EXPECT_TRUE(absl::IsInvalidArgument(storage_.LocalPath("/x").status()));
}

TEST_F(DirectoryStorageTest, StreamsAFileAndReturnsItsSizeAndHash) {
  auto writer = storage_.Create("a/b/file");
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append("hello ").ok());
  ASSERT_TRUE((*writer)->Append("").ok());
  ASSERT_TRUE((*writer)->Append("world").ok());
  const auto written = (*writer)->Finish();
  ASSERT_TRUE(written.ok());
  writer->reset();
  EXPECT_EQ(written->bytes, 11u);
  EXPECT_EQ(written->sha256, Sha256Hex("hello world"));
  EXPECT_EQ(*storage_.Read("a/b/file", 100), "hello world");
  EXPECT_EQ(*storage_.FileSize("a/b/file"), 11u);
  EXPECT_TRUE(absl::IsResourceExhausted(storage_.Read("a/b/file", 10).status()));
}

TEST_F(DirectoryStorageTest, AnUnfinishedFileIsRemoved) {
  {
    auto writer = storage_.Create("a/file");
    ASSERT_TRUE((*writer)->Append("half").ok());
  }
  EXPECT_TRUE(absl::IsNotFound(storage_.FileSize("a/file").status()));
}

TEST_F(DirectoryStorageTest, NoSpaceLeftIsResourceExhaustedAndRemovesTheFile) {
  ASSERT_TRUE(storage_.WriteFileAtomically("a/other", "").ok());
  fs::create_symlink("/dev/full", *storage_.LocalPath("a/file"));
  {
    auto writer = storage_.Create("a/file");
    ASSERT_TRUE(writer.ok()) << writer.status();
    const absl::Status status = (*writer)->Append("data");
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("a/file"));
  }
  EXPECT_THAT(*storage_.List("a"), ElementsAre("other"));
}

TEST_F(DirectoryStorageTest, ListsSortedNamesThatAreValidPaths) {
  for (const std::string name : {"b", "a", "c"}) {
    ASSERT_TRUE(storage_.WriteFileAtomically("d/" + name, "").ok());
  }
  WriteBytes(*storage_.LocalPath("d/a") += " odd name", "");
  EXPECT_THAT(*storage_.List("d"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(*storage_.List("absent"), IsEmpty());
}

TEST_F(DirectoryStorageTest, DeletesFilesAndTreesAndWhatIsNotThere) {
  ASSERT_TRUE(storage_.WriteFileAtomically("d/e/f", "x").ok());
  ASSERT_TRUE(storage_.WriteFileAtomically("d/g", "x").ok());
  EXPECT_TRUE(storage_.Delete("d/e").ok());
  EXPECT_THAT(*storage_.List("d"), ElementsAre("g"));
  EXPECT_TRUE(storage_.Delete("d/g").ok());
  EXPECT_TRUE(storage_.Delete("d/g").ok());
  EXPECT_THAT(*storage_.List("d"), IsEmpty());
}

TEST_F(DirectoryStorageTest, KnowsItsFreeSpace) {
  const auto free = storage_.FreeBytes();
  ASSERT_TRUE(free.ok()) << free.status();
  EXPECT_GT(*free, 0u);
}

TEST_F(DirectoryStorageTest, AProbeIsSeenThroughTheSameRootOnly) {
  DirectoryStorage same(directory_.path() / "root"), other(directory_.path() / "other");
  ASSERT_TRUE(WriteProbe(storage_, "token-1").ok());
  EXPECT_TRUE(CheckProbe(same, "token-1").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckProbe(same, "token-2")));
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckProbe(other, "token-1")));
  ASSERT_TRUE(RemoveProbe(storage_, "token-1").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckProbe(same, "token-1")));
}

}  // namespace
}  // namespace wavefield
