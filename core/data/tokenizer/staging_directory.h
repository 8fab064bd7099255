#pragma once

#include <filesystem>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "core/base/file.h"

namespace wavefield {

// Where a dataset is made before it is published under its own name in one step: the folder
// .NAME.preparing beside it, locked. What an earlier process left there, killed, is removed by the
// next. Thread-safe.
class StagingDirectory {
 public:
  // Touches nothing yet.
  explicit StagingDirectory(const std::filesystem::path& output);
  // Discards what was not published.
  ~StagingDirectory();

  const std::filesystem::path& path() const { return path_; }

  // ALREADY_EXISTS when the output is there and not an empty folder; FAILED_PRECONDITION while
  // another process prepares it.
  absl::Status Open();
  // Makes the contents durable under the output's name. CANCELLED after Discard().
  absl::Status Publish();
  // Removes it; later calls do nothing. May run while another thread still writes into it.
  void Discard();

 private:
  const std::filesystem::path output_;
  const std::filesystem::path path_;
  std::mutex mutex_;
  std::optional<FileLock> lock_;  // held: open, neither published nor discarded
};

}  // namespace wavefield
