#include "core/data/tokenizer/staging_directory.h"

#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr char kLockFile[] = ".lock";

fs::path Normalized(const fs::path& output) {
  const fs::path path = fs::absolute(output).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

StagingDirectory::StagingDirectory(const fs::path& output)
    : output_(Normalized(output)),
      path_(output_.parent_path() / absl::StrCat(".", output_.filename().string(), ".preparing")) {}

StagingDirectory::~StagingDirectory() { Discard(); }

absl::Status StagingDirectory::Open() {
  const std::lock_guard lock(mutex_);
  std::error_code error;
  if (fs::exists(output_, error) &&
      !(fs::is_directory(output_, error) && fs::is_empty(output_, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat("the output ", output_.string(),
                     " exists and is not empty; remove it or choose another --output"));
  }
  WF_RETURN_IF_ERROR(CreateDirectories(path_));
  auto file_lock = FileLock::Acquire(path_ / kLockFile);
  if (absl::IsFailedPrecondition(file_lock.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("another process is preparing ", output_.string(), " right now"));
  }
  WF_RETURN_IF_ERROR(file_lock.status());
  lock_ = *std::move(file_lock);
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    if (entry.path().filename() != kLockFile) fs::remove_all(entry.path(), error);
    if (error) {
      return ErrnoToStatus(error.value(), absl::StrCat("cannot remove ", entry.path().string()));
    }
  }
  return absl::OkStatus();
}

absl::Status StagingDirectory::Publish() {
  const std::lock_guard lock(mutex_);
  if (!lock_) return absl::CancelledError("the dataset was discarded before it was published");
  WF_RETURN_IF_ERROR(SyncDirectory(path_));
  std::error_code error;
  fs::rename(path_, output_, error);
  if (error) {
    return ErrnoToStatus(error.value(),
                         absl::StrCat("cannot rename ", path_.string(), " to ", output_.string()));
  }
  fs::remove(output_ / kLockFile, error);
  lock_.reset();
  return SyncDirectory(output_.parent_path());
}

void StagingDirectory::Discard() {
  const std::lock_guard lock(mutex_);
  if (!lock_) return;
  // A file that is created while the folder is emptied makes its removal fail: try again.
  std::error_code error;
  for (int attempt = 0; attempt < 10; ++attempt) {
    fs::remove_all(path_, error);
    if (!error) break;
  }
  lock_.reset();
}

}  // namespace wavefield
