#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/data/mapped_file.h"

namespace wavefield {

// One file of token ids on disk. The format is described byte by byte in docs/token-shards.md; what
// is marked "on disk" there and here never changes within a version.

inline constexpr uint32_t kTokenShardVersion = 1;        // on disk
inline constexpr uint64_t kTokenShardHeaderBytes = 128;  // on disk
inline constexpr uint64_t kTokenShardRowBytes = 16;      // on disk
inline constexpr int64_t kMaxVocabSize = int64_t{1} << 20;
// Where a separator's id is asked for: no token separates documents. On disk, as a uint32.
inline constexpr int32_t kNoSeparator = -1;

struct ShardHeader {
  uint32_t token_width = 2;  // bytes of a token id: 2 (vocabularies up to 65,536) or 4
  uint64_t tokens = 0;
  uint64_t segments = 0;
  uint64_t documents = 0;      // segments that end with the separator
  uint64_t text_bytes = 0;     // bytes of text of all segments
  uint32_t vocab_size = 0;     // every id is below it
  int32_t separator_id = 0;    // or kNoSeparator
  std::string payload_sha256;  // 64 hexadecimal digits: of everything after the header

  // The size of the file that such a header begins.
  uint64_t FileBytes() const;
};

// A consecutive piece of text, whole lines where it can be.
struct ShardSegment {
  uint64_t first_token = 0;    // within the shard
  uint32_t text_bytes = 0;     // without the separator; 0 where they are not known
  bool ends_document = false;  // its last token is the separator
};

// Writes one shard, segment after segment. Not thread-safe. The file is whole only after Finish().
class ShardWriter {
 public:
  // REQUIRES: 0 < vocab_size <= kMaxVocabSize, separator_id < vocab_size or kNoSeparator.
  static absl::StatusOr<ShardWriter> Create(const std::filesystem::path& path, int64_t vocab_size,
                                            int32_t separator_id);

  // REQUIRES: tokens is not empty, its ids are below vocab_size.
  absl::Status Append(std::span<const int32_t> tokens, uint32_t text_bytes, bool ends_document);
  // Completes the file and makes it durable. Call once, last.
  absl::StatusOr<ShardHeader> Finish();

  const ShardHeader& header() const { return header_; }

 private:
  ShardWriter() = default;
  absl::Status Write(std::string_view bytes);
  absl::Status Flush();

  std::filesystem::path path_;
  FileDescriptor fd_;
  ShardHeader header_;
  Sha256 digest_;
  std::string buffer_;
  std::string table_;
};

// A shard mapped for reading. Thread-safe.
class TokenShard {
 public:
  // Checks header and file size. DATA_LOSS names file, byte offset and reason.
  static absl::StatusOr<TokenShard> Open(const std::filesystem::path& path);

  // Checks everything else: digest, the table of segments, every id.
  absl::Status Verify() const;

  const ShardHeader& header() const { return header_; }
  int64_t tokens() const { return static_cast<int64_t>(header_.tokens); }
  // REQUIRES: index < header().segments.
  ShardSegment segment(uint64_t index) const;
  // Tokens begin … begin + out.size() − 1. REQUIRES: in range. Aborts on an id that is not below
  // vocab_size: the file was changed after it was verified, or never verified.
  void Copy(int64_t begin, std::span<int32_t> out) const;

 private:
  TokenShard() = default;
  uint64_t TableOffset() const;
  absl::Status Corrupt(uint64_t offset, const std::string& reason) const;

  std::filesystem::path path_;
  MappedFile file_;
  ShardHeader header_;
};

}  // namespace wavefield
