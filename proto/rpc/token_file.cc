#include "proto/rpc/token_file.h"

#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {

absl::StatusOr<std::string> TokenFile::Read(const std::string& path) {
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 16));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string token;
    for (std::string word; words >> word;) {
      if (word[0] == '#' && token.empty()) break;
      if (!word.starts_with("role=") && !word.starts_with("expires=")) token = word;
    }
    if (!token.empty()) return token;
  }
  return absl::InvalidArgumentError(absl::StrCat(path, " holds no token"));
}

absl::StatusOr<std::shared_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  const FileStamp stamp = StampOf(path);
  WF_ASSIGN_OR_RETURN(std::string token, Read(path));
  return std::shared_ptr<TokenFile>(new TokenFile(path, stamp, std::move(token)));
}

std::string TokenFile::Current() {
  const FileStamp stamp = StampOf(path_);
  {
    const absl::MutexLock lock(&mutex_);
    if (stamp == stamp_ || stamp == FileStamp()) return token_;
  }
  absl::StatusOr<std::string> read = Read(path_);
  const absl::MutexLock lock(&mutex_);
  if (read.ok()) {
    token_ = *std::move(read);
    stamp_ = stamp;
  }
  return token_;
}

}  // namespace wavefield
