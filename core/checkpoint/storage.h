#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace wavefield {

struct WrittenFile {
  uint64_t bytes = 0;
  std::string sha256;  // 64 lower-case hexadecimal digits
};

// A file in the making. Destruction without Finish() removes it. Not thread-safe.
class StorageWriter {
 public:
  virtual ~StorageWriter() = default;
  // After an error only destruction is allowed. RESOURCE_EXHAUSTED when there is no space left.
  virtual absl::Status Append(std::string_view data) = 0;
  // Makes the file durable. Call once, last.
  virtual absl::StatusOr<WrittenFile> Finish() = 0;
};

// Where a cluster keeps what must last: a tree of files under one root that every worker and the
// coordinator reach. Paths are relative to the root, "checkpoints/j1", and obey
// ValidateStoragePath: INVALID_ARGUMENT otherwise. Everything that is written is durable when the
// call returns. Thread-safe.
class Storage {
 public:
  virtual ~Storage() = default;

  // Creates or replaces a file, and the directories on the way to it.
  virtual absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) = 0;
  // All of `contents` or what was there before; makes directories as Create() does.
  virtual absl::Status WriteFileAtomically(const std::string& path, std::string_view contents) = 0;

  // The whole file; RESOURCE_EXHAUSTED if it is larger than `limit` bytes.
  virtual absl::StatusOr<std::string> Read(const std::string& path, uint64_t limit) = 0;
  // NOT_FOUND if `path` is not a file.
  virtual absl::StatusOr<uint64_t> FileSize(const std::string& path) = 0;
  // Names in a directory, sorted; those that are no valid paths are left out. Empty if there is no
  // such directory.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;
  // A file, or a directory with all that is in it. OK if there is none.
  virtual absl::Status Delete(const std::string& path) = 0;
  // Bytes that can still be written.
  virtual absl::StatusOr<uint64_t> FreeBytes() = 0;
  // A path of this machine under which readers find the file or directory.
  virtual absl::StatusOr<std::filesystem::path> LocalPath(const std::string& path) = 0;
};

// Relative, at most 1,024 bytes; components of letters, digits, '.', '_' and '-', at most 255 bytes
// each, and not "." or "..".
absl::Status ValidateStoragePath(const std::string& path);

// "a/b" of "a" and "b".
std::string JoinStoragePath(const std::string& directory, const std::string& name);

// A directory of this machine, or one that is mounted on it.
class DirectoryStorage final : public Storage {
 public:
  // `root` is created when something is first written.
  explicit DirectoryStorage(std::filesystem::path root);

  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override;
  absl::Status WriteFileAtomically(const std::string& path, std::string_view contents) override;
  absl::StatusOr<std::string> Read(const std::string& path, uint64_t limit) override;
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::Status Delete(const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes() override;
  absl::StatusOr<std::filesystem::path> LocalPath(const std::string& path) override;

 private:
  const std::filesystem::path root_;
};

// Proof that two programs reach the same root: one writes a file that holds a random `token`, the
// other finds it, the first removes it. The token obeys ValidateStoragePath and holds no '/'.
absl::Status WriteProbe(Storage& storage, const std::string& token);
// FAILED_PRECONDITION when it is not there.
absl::Status CheckProbe(Storage& storage, const std::string& token);
absl::Status RemoveProbe(Storage& storage, const std::string& token);

}  // namespace wavefield
