#include "coordinator/datasets/source_upload.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "core/base/status_macros.h"

namespace wavefield::coordinator {

SourceUpload::SourceUpload(std::filesystem::path directory,
                           const wavefield::v1::CreateDatasetConfig& config)
    : directory_(std::move(directory)), config_(config) {
  for (const auto& source : config.sources()) total_ += source.bytes();
}

SourceUpload::~SourceUpload() {
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

absl::Status SourceUpload::Begin() {
  WF_RETURN_IF_ERROR(CreateDirectories(directory_));
  std::error_code error;
  const auto space = std::filesystem::space(directory_, error);
  if (!error && space.available < static_cast<uintmax_t>(total_)) {
    return absl::ResourceExhaustedError(fmt::format(
        "the files have {} bytes, and the coordinator's storage has {} left; free some space",
        total_, space.available));
  }
  WF_RETURN_IF_ERROR(OpenCurrent());
  return FinishWholeFiles();
}

std::filesystem::path SourceUpload::FolderOf(const std::filesystem::path& directory,
                                             wavefield::v1::SourceKind kind) {
  switch (kind) {
    case wavefield::v1::SOURCE_KIND_TRAIN_TOKENS:
      return directory / "train";
    case wavefield::v1::SOURCE_KIND_VALIDATION_TOKENS:
      return directory / "validation";
    case wavefield::v1::SOURCE_KIND_SENTENCEPIECE_MODEL:
      return directory / "model";
    case wavefield::v1::SOURCE_KIND_TOKEN_BYTES:
      return directory / "token-bytes";
    default:
      return directory / "text";
  }
}

absl::Status SourceUpload::OpenCurrent() {
  digest_ = Sha256();
  file_bytes_ = 0;
  if (complete()) return absl::OkStatus();
  const auto& source = config_.sources(current_);
  const std::filesystem::path path = FolderOf(directory_, source.kind()) / source.path();
  WF_RETURN_IF_ERROR(CreateDirectories(path.parent_path()));
  file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file_.valid()) return ErrnoToStatus(errno, fmt::format("cannot create {}", path.string()));
  return absl::OkStatus();
}

absl::Status SourceUpload::FinishWholeFiles() {
  while (!complete() && file_bytes_ == config_.sources(current_).bytes()) {
    const auto& source = config_.sources(current_);
    if (digest_.HexDigest() != source.sha256()) {
      return absl::InvalidArgumentError(fmt::format(
          "the file '{}' arrived with another SHA-256 than announced: it was changed while it "
          "was read, or damaged on its way; send it again",
          source.path()));
    }
    file_.Close();
    ++current_;
    WF_RETURN_IF_ERROR(OpenCurrent());
  }
  return absl::OkStatus();
}

absl::Status SourceUpload::Add(const std::string& chunk) {
  if (chunk.empty()) return absl::OkStatus();
  if (complete()) return absl::InvalidArgumentError("more bytes arrived than were announced");
  const auto& source = config_.sources(current_);
  if (static_cast<int64_t>(chunk.size()) > source.bytes() - file_bytes_) {
    return absl::InvalidArgumentError(fmt::format(
        "the file '{}' has more than the announced {} bytes", source.path(), source.bytes()));
  }
  WF_RETURN_IF_ERROR(WriteAll(file_.get(), source.path(), chunk));
  digest_.Update(chunk);
  file_bytes_ += static_cast<int64_t>(chunk.size());
  bytes_ += static_cast<int64_t>(chunk.size());
  return FinishWholeFiles();
}

}  // namespace wavefield::coordinator
