#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file.h"

namespace wavefield {

// A folder that comes into being whole or not at all: it is made as `contents` of a working folder
// beside it, ".NAME.partial", and renamed at the end. Not thread-safe.
class StagedFolder {
 public:
  static constexpr char kContents[] = "contents";

  // ALREADY_EXISTS when `output` is anything but an empty folder; FAILED_PRECONDITION when another
  // process makes it now; INVALID_ARGUMENT for what names no folder.
  static absl::StatusOr<StagedFolder> Open(const std::filesystem::path& output);
  // Removes what was not published. What else lies in the working folder stays, for another try.
  ~StagedFolder();
  StagedFolder(StagedFolder&& other) noexcept;
  StagedFolder& operator=(StagedFolder&&) = delete;

  const std::filesystem::path& output() const { return output_; }
  const std::filesystem::path& working() const { return working_; }
  // Empty at the start.
  std::filesystem::path contents() const { return working_ / kContents; }

  // Gives the contents their name and removes the working folder. Call once, last.
  absl::Status Publish();

 private:
  StagedFolder(std::filesystem::path output, std::filesystem::path working, FileLock lock);

  std::filesystem::path output_;
  std::filesystem::path working_;
  std::optional<FileLock> lock_;
};

}  // namespace wavefield
