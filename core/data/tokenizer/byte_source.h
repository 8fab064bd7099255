#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/checksum.h"
#include "core/base/file.h"

namespace wavefield {

// Reads a file from its beginning to its end, decompressing gzip on the way. Not thread-safe.
class ByteSource {
 public:
  static absl::StatusOr<std::unique_ptr<ByteSource>> Open(const std::filesystem::path& path,
                                                          bool gzip);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // Fills `out`; less only at the end of the file. DATA_LOSS, with the offset, where compressed
  // data are damaged or end early.
  absl::StatusOr<size_t> Read(std::span<char> out);

  // Bytes read of the file itself, and their SHA-256. Call the latter once, at the end.
  int64_t file_bytes() const { return file_bytes_; }
  std::string FileSha256() { return digest_.HexDigest(); }

 private:
  ByteSource(std::filesystem::path path, FileDescriptor fd, bool gzip);
  absl::StatusOr<size_t> ReadFile(std::span<char> out);
  absl::StatusOr<size_t> Inflate(std::span<char> out);

  std::filesystem::path path_;
  FileDescriptor fd_;
  bool gzip_;
  int64_t file_bytes_ = 0;
  Sha256 digest_;

  z_stream stream_{};
  std::vector<char> compressed_;  // what stream_ reads from
  bool inside_member_ = false;    // of a gzip file, which is a sequence of members
};

}  // namespace wavefield
