#include "core/base/staged_folder.h"

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr char kLockFile[] = ".lock";

// "" or "/" for what names no folder.
fs::path Normalized(const fs::path& output) {
  std::error_code error;
  const fs::path path = fs::absolute(output, error).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

absl::Status CheckFree(const fs::path& output) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(output, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (fs::is_directory(status) && fs::is_empty(output, error)) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(
      output.string(), " exists and is not an empty folder; remove it or name another --output"));
}

bool HoldsOnlyTheLock(const fs::path& working) {
  std::error_code error;
  fs::directory_iterator entry(working, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (entry->path().filename() != kLockFile) return false;
  }
  return !error;
}

}  // namespace

StagedFolder::StagedFolder(const fs::path& output)
    : output_(Normalized(output)),
      working_(output_.parent_path() / absl::StrCat(".", output_.filename().string(), ".partial")),
      contents_(working_ / kContents) {}

StagedFolder::~StagedFolder() { Discard(); }

absl::Status StagedFolder::Open() {
  const absl::MutexLock mutex_lock(&mutex_);
  if (!output_.has_filename()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--output '", output_.string(), "' names no folder that could be made"));
  }
  WF_RETURN_IF_ERROR(CheckFree(output_));
  WF_RETURN_IF_ERROR(CreateDirectories(working_));
  auto lock = FileLock::Acquire(working_ / kLockFile);
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("another process is making ", output_.string(), " right now"));
  }
  WF_RETURN_IF_ERROR(lock.status());
  lock_ = *std::move(lock);
  std::error_code error;
  fs::remove_all(contents_, error);
  if (error) {
    return ErrnoToStatus(error.value(), absl::StrCat("cannot remove ", contents_.string()));
  }
  return CreateDirectories(contents_);
}

absl::Status StagedFolder::Publish() {
  const absl::MutexLock mutex_lock(&mutex_);
  if (!lock_) {
    return absl::CancelledError(
        absl::StrCat(output_.string(), " was discarded before it was published"));
  }
  WF_RETURN_IF_ERROR(CheckFree(output_));
  WF_RETURN_IF_ERROR(SyncDirectory(contents_));
  std::error_code error;
  fs::rename(contents_, output_, error);
  if (error) {
    return ErrnoToStatus(error.value(), absl::StrCat("cannot rename to ", output_.string()));
  }
  WF_RETURN_IF_ERROR(SyncDirectory(output_.parent_path()));
  fs::remove_all(working_, error);
  lock_.reset();
  return absl::OkStatus();
}

void StagedFolder::Discard() {
  const absl::MutexLock mutex_lock(&mutex_);
  if (!lock_) return;
  // A file that is created while the folder is emptied makes its removal fail: try again.
  std::error_code error;
  for (int attempt = 0; attempt < 10; ++attempt) {
    fs::remove_all(contents_, error);
    if (!error) break;
  }
  if (HoldsOnlyTheLock(working_)) fs::remove_all(working_, error);
  lock_.reset();
}

}  // namespace wavefield
