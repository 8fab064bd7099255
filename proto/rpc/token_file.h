#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/file_stamp.h"

namespace wavefield {

// The bearer token that a client sends, which follows its file: where the file changes, the next
// call brings the new token. Thread-safe.
class TokenFile {
 public:
  // The token of the first line that has one: its last word, but for the options that a line of a
  // coordinator's token file may end with. INVALID_ARGUMENT for a file without a token.
  static absl::StatusOr<std::string> Read(const std::string& path);

  // Errors as of Read().
  static absl::StatusOr<std::shared_ptr<TokenFile>> Open(const std::string& path);

  // As the file has it now; while that cannot be read, as before.
  std::string Current();

 private:
  TokenFile(std::string path, FileStamp stamp, std::string token)
      : path_(std::move(path)), stamp_(stamp), token_(std::move(token)) {}

  const std::string path_;
  absl::Mutex mutex_;
  FileStamp stamp_ ABSL_GUARDED_BY(mutex_);
  std::string token_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wavefield
