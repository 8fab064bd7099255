#include "core/base/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/base/checksum.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(ReadFile, RefusesAFileOverTheLimit) {
  const TemporaryDirectory directory;
  ASSERT_TRUE(WriteFileAtomically(directory.path() / "f", std::string(1000, 'x')).ok());
  EXPECT_EQ(ReadFile(directory.path() / "f", 1000)->size(), 1000u);
  const absl::Status status = ReadFile(directory.path() / "f", 999).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("999"));
  EXPECT_TRUE(absl::IsNotFound(ReadFile(directory.path() / "absent").status()));
}

TEST(ReadAt, GivesLessOnlyAtTheEndAndNamesTheFileThatCannotBeRead) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "f";
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(WriteAll(fd.get(), path, "01234").ok());
  ASSERT_TRUE(WriteAll(fd.get(), path, "56789").ok());
  const FileDescriptor in(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(*ReadAt(in.get(), path, 3, 4), "3456");
  EXPECT_EQ(*ReadAt(in.get(), path, 8, 4), "89");
  EXPECT_EQ(*ReadAt(in.get(), path, 10, 4), "");
  EXPECT_THAT(std::string(ReadAt(fd.get(), path, 0, 4).status().message()),
              HasSubstr(path.string()));
  EXPECT_THAT(std::string(WriteAll(in.get(), path, "x").message()), HasSubstr(path.string()));
}

TEST(WriteFileAtomically, ReplacesTheContentsAndLeavesNothingElse) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "f";
  ASSERT_TRUE(WriteFileAtomically(path, "old and longer").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  EXPECT_EQ(*ReadFile(path), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()), 1);
}

TEST(WriteFileAtomically, AFailureLeavesTheOldContentsAndNothingElse) {
  const TemporaryDirectory directory;
  const fs::path occupied = directory.path() / "occupied";
  fs::create_directories(occupied / "child");
  EXPECT_FALSE(WriteFileAtomically(occupied, "new").ok());
  EXPECT_TRUE(fs::is_directory(occupied / "child"));
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()), 1);
  EXPECT_TRUE(absl::IsNotFound(WriteFileAtomically(directory.path() / "no" / "f", "new")));
}

TEST(WriteFileAtomically, AReaderNeverSeesAMixture) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "f";
  const std::string a(100'000, 'a'), b(50'000, 'b');
  ASSERT_TRUE(WriteFileAtomically(path, a).ok());
  std::atomic<bool> done = false;
  std::jthread writer([&] {
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(WriteFileAtomically(path, i % 2 ? a : b).ok());
    done = true;
  });
  while (!done) {
    const auto contents = ReadFile(path);
    ASSERT_TRUE(contents.ok()) << contents.status();
    ASSERT_TRUE(*contents == a || *contents == b) << contents->size();
  }
}

TEST(FileDescriptor, ClosesOnceAndMoves) {
  FileDescriptor first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd = first.get();
  FileDescriptor second(std::move(first));
  EXPECT_FALSE(first.valid());
  EXPECT_EQ(second.get(), fd);
  second.Close();
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST(FileLock, IsHeldAgainstOthersUntilItsEnd) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "lock";
  {
    const auto lock = FileLock::Acquire(path);
    ASSERT_TRUE(lock.ok()) << lock.status();
    const absl::Status second = FileLock::Acquire(path).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(second));
    EXPECT_THAT(std::string(second.message()), HasSubstr(path.string()));
  }
  EXPECT_TRUE(FileLock::Acquire(path).ok());
}

TEST(FileLock, EndsWithTheProcessThatHeldIt) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "lock";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = FileLock::Acquire(path);
    ::_exit(lock.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(FileLock::Acquire(path).ok());
}

TEST(ErrnoToStatus, MapsWhatCallersTellApart) {
  EXPECT_TRUE(absl::IsNotFound(ErrnoToStatus(ENOENT, "x")));
  EXPECT_TRUE(absl::IsPermissionDenied(ErrnoToStatus(EACCES, "x")));
  EXPECT_TRUE(absl::IsResourceExhausted(ErrnoToStatus(ENOSPC, "x")));
  EXPECT_TRUE(absl::IsResourceExhausted(ErrnoToStatus(EDQUOT, "x")));
  EXPECT_TRUE(absl::IsUnavailable(ErrnoToStatus(EIO, "x")));
  EXPECT_THAT(std::string(ErrnoToStatus(ENOSPC, "cannot write f").message()),
              HasSubstr("cannot write f: No space left"));
}

}  // namespace
}  // namespace wavefield
