#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace wavefield {

// The status of a failed system call: NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (no space)
// or UNAVAILABLE, with what was tried and the system's text.
absl::Status ErrnoToStatus(int error, const std::string& what);

// The whole file. RESOURCE_EXHAUSTED if it is larger than `limit` bytes.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                                     uint64_t limit = uint64_t{1} << 30);

// Writes to a temporary file beside `path`, fsyncs it, renames it and fsyncs the folder: afterwards
// `path` holds either all of the new contents or what it held before. `mode`: who may read it, less
// what the process's umask takes away.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view contents,
                                 mode_t mode = 0644);

// Makes renames and creations in `directory` durable.
absl::Status SyncDirectory(const std::filesystem::path& directory);

// `bytes` bytes from `offset` on; fewer only at the end of the file. `path` is for errors.
absl::StatusOr<std::string> ReadAt(int fd, const std::filesystem::path& path, int64_t offset,
                                   int64_t bytes);

// Writes all of `data` where the descriptor stands. `path` is for errors, which may leave a part of
// it written.
absl::Status WriteAll(int fd, const std::filesystem::path& path, std::string_view data);

// mkdir -p.
absl::Status CreateDirectories(const std::filesystem::path& directory);

// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { Close(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release();
  void Close();

 private:
  int fd_ = -1;
};

// An exclusive lock on a file that is held until destruction or the process's end.
class FileLock {
 public:
  // FAILED_PRECONDITION when another process holds it.
  static absl::StatusOr<FileLock> Acquire(const std::filesystem::path& path);

 private:
  explicit FileLock(FileDescriptor fd) : fd_(std::move(fd)) {}
  FileDescriptor fd_;
};

}  // namespace wavefield
