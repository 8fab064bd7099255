#include "core/base/staged_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class StagedFolderTest : public testing::Test {
 protected:
  static void Write(const fs::path& path, std::string_view contents) {
    fs::create_directories(path.parent_path());
    ASSERT_TRUE(WriteFileAtomically(path, contents).ok());
  }
  static std::vector<std::string> NamesIn(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  TemporaryDirectory directory_;
  const fs::path output_ = directory_.path() / "out";
};

TEST_F(StagedFolderTest, PublishesItsContentsAloneUnderTheirName) {
  StagedFolder folder(output_);
  ASSERT_TRUE(folder.Open().ok());
  Write(folder.contents() / "model/weights", "x");
  Write(folder.working() / "checkpoint/weights", "y");
  ASSERT_TRUE(folder.Publish().ok());
  EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre("out"));
  EXPECT_THAT(NamesIn(output_), UnorderedElementsAre("model"));
  folder.Discard();
  EXPECT_TRUE(fs::exists(output_ / "model/weights"));
}

TEST_F(StagedFolderTest, OneMakesItAtATime) {
  StagedFolder first(output_);
  ASSERT_TRUE(first.Open().ok());
  {
    StagedFolder second(directory_.path() / "out/");
    EXPECT_TRUE(absl::IsFailedPrecondition(second.Open()));
  }
  EXPECT_TRUE(fs::exists(first.contents()));
}

TEST_F(StagedFolderTest, RemovesWhatAKilledProcessLeft) {
  StagedFolder folder(output_);
  Write(folder.contents() / "folder/train-00000.tokens", "half");
  ASSERT_TRUE(folder.Open().ok());
  EXPECT_THAT(NamesIn(folder.contents()), IsEmpty());
  ASSERT_TRUE(folder.Publish().ok());
  EXPECT_TRUE(fs::is_empty(output_));
}

TEST_F(StagedFolderTest, PublishesNothingOnceDiscarded) {
  StagedFolder folder(output_);
  ASSERT_TRUE(folder.Open().ok());
  Write(folder.contents() / "weights", "x");
  folder.Discard();
  EXPECT_TRUE(absl::IsCancelled(folder.Publish()));
  EXPECT_THAT(NamesIn(directory_.path()), IsEmpty());
}

TEST_F(StagedFolderTest, KeepsWhatLiesBesideTheContentsForAnotherTry) {
  {
    StagedFolder folder(output_);
    ASSERT_TRUE(folder.Open().ok());
    Write(folder.contents() / "weights", "x");
    Write(folder.working() / "checkpoint/weights", "y");
  }
  StagedFolder folder(output_);
  EXPECT_FALSE(fs::exists(folder.contents()));
  ASSERT_TRUE(folder.Open().ok());
  EXPECT_TRUE(fs::exists(folder.working() / "checkpoint/weights"));
}

TEST_F(StagedFolderTest, RefusesWhatIsTakenOrNamesNoFolder) {
  Write(output_ / "precious", "y");
  EXPECT_TRUE(absl::IsAlreadyExists(StagedFolder(output_).Open()));
  EXPECT_TRUE(absl::IsAlreadyExists(StagedFolder(output_ / "precious").Open()));
  EXPECT_TRUE(absl::IsInvalidArgument(StagedFolder("").Open()));
  EXPECT_TRUE(absl::IsInvalidArgument(StagedFolder("/").Open()));
  EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre("out"));
}

}  // namespace
}  // namespace wavefield
