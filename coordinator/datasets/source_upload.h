#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield::coordinator {

// Writes streamed source files below a directory of its own, checking sizes and digests as they
// come. The directory is removed on destruction. Not thread-safe.
class SourceUpload {
 public:
  // `config` was checked and outlives this.
  SourceUpload(std::filesystem::path directory, const wavefield::v1::CreateDatasetConfig& config);
  ~SourceUpload();
  SourceUpload(const SourceUpload&) = delete;
  SourceUpload& operator=(const SourceUpload&) = delete;

  // RESOURCE_EXHAUSTED when the disk has no room for all of it.
  absl::Status Begin();
  // Bytes of the current file; a chunk never spans two files.
  absl::Status Add(const std::string& chunk);
  bool complete() const { return current_ == config_.sources_size(); }
  int64_t bytes() const { return bytes_; }
  int64_t total() const { return total_; }
  const std::filesystem::path& directory() const { return directory_; }
  // Where sources of a kind lie, by their paths.
  static std::filesystem::path FolderOf(const std::filesystem::path& directory,
                                        wavefield::v1::SourceKind kind);

 private:
  absl::Status OpenCurrent();
  absl::Status FinishWholeFiles();

  const std::filesystem::path directory_;
  const wavefield::v1::CreateDatasetConfig& config_;
  int current_ = 0;
  FileDescriptor file_;
  Sha256 digest_;
  int64_t file_bytes_ = 0;
  int64_t bytes_ = 0;
  int64_t total_ = 0;
};

}  // namespace wavefield::coordinator
