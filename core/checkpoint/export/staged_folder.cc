#include "core/checkpoint/export/staged_folder.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr char kLockFile[] = ".lock";

absl::Status CheckFree(const fs::path& output) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(output, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (fs::is_directory(status) && fs::is_empty(output, error)) return absl::OkStatus();
  return absl::AlreadyExistsError(fmt::format(
      "{} exists and is not an empty folder; remove it or name another --output", output.string()));
}

}  // namespace

absl::StatusOr<StagedFolder> StagedFolder::Open(const fs::path& output) {
  fs::path path = fs::absolute(output).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (output.empty() || !path.has_filename()) {
    return absl::InvalidArgumentError(
        fmt::format("--output '{}' names no folder that could be made", output.string()));
  }
  WF_RETURN_IF_ERROR(CheckFree(path));
  const fs::path working =
      path.parent_path() / fmt::format(".{}.partial", path.filename().string());
  WF_RETURN_IF_ERROR(CreateDirectories(working));
  auto lock = FileLock::Acquire(working / kLockFile);
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(
        fmt::format("another process is making {} right now", path.string()));
  }
  WF_RETURN_IF_ERROR(lock.status());
  StagedFolder folder(std::move(path), working, *std::move(lock));
  std::error_code error;
  fs::remove_all(folder.contents(), error);
  if (error) return ErrnoToStatus(error.value(), "cannot remove " + folder.contents().string());
  WF_RETURN_IF_ERROR(CreateDirectories(folder.contents()));
  return folder;
}

StagedFolder::StagedFolder(fs::path output, fs::path working, FileLock lock)
    : output_(std::move(output)), working_(std::move(working)), lock_(std::move(lock)) {}

StagedFolder::StagedFolder(StagedFolder&& other) noexcept
    : output_(std::move(other.output_)),
      working_(std::exchange(other.working_, {})),
      lock_(std::move(other.lock_)) {}

StagedFolder::~StagedFolder() {
  if (working_.empty()) return;  // moved from, or published
  std::error_code error;
  fs::remove_all(contents(), error);
  fs::directory_iterator entry(working_, error);
  const bool others =
      !error && entry != fs::directory_iterator() &&
      (entry->path().filename() != kLockFile || ++entry != fs::directory_iterator());
  if (!others) fs::remove_all(working_, error);
}

absl::Status StagedFolder::Publish() {
  WF_RETURN_IF_ERROR(CheckFree(output_));
  std::error_code error;
  fs::rename(contents(), output_, error);
  if (error) return ErrnoToStatus(error.value(), "cannot rename to " + output_.string());
  WF_RETURN_IF_ERROR(SyncDirectory(output_.parent_path()));
  fs::remove_all(std::exchange(working_, {}), error);
  return absl::OkStatus();
}

}  // namespace wavefield
