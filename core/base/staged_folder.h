#pragma once

#include <filesystem>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/base/file.h"

namespace wavefield {

// A folder that comes into being whole or not at all: it is made as `contents` of a working folder
// beside it, ".NAME.partial", locked, and renamed at the end. Thread-safe.
class StagedFolder {
 public:
  static constexpr char kContents[] = "contents";

  // Touches nothing yet.
  explicit StagedFolder(const std::filesystem::path& output);
  // Discards what was not published.
  ~StagedFolder();

  const std::filesystem::path& working() const { return working_; }
  const std::filesystem::path& contents() const { return contents_; }

  // Makes the contents, empty: what an earlier process left there, killed, is removed. Call once.
  // ALREADY_EXISTS when the output is anything but an empty folder; FAILED_PRECONDITION while
  // another process makes it; INVALID_ARGUMENT for what names no folder.
  absl::Status Open();
  // Gives the contents their name, durably, and removes the working folder. CANCELLED after
  // Discard().
  absl::Status Publish();
  // Removes the contents; later calls do nothing. What else lies in the working folder stays, for
  // another try. May run while another thread still writes the contents.
  void Discard();

 private:
  const std::filesystem::path output_;
  const std::filesystem::path working_;
  const std::filesystem::path contents_;
  absl::Mutex mutex_;
  // Held: open, neither published nor discarded.
  std::optional<FileLock> lock_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wavefield
