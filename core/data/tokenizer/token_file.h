#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/mapped_file.h"

namespace wavefield {

// How the ids of a token file are written, little-endian, without gaps.
struct TokenFileFormat {
  // "raw": ids alone, as nanoGPT writes them. "llm.c": behind a header of 256 int32 (a magic number
  // that tells the type of the ids, a version, the number of tokens). Empty: by what the file
  // begins with.
  std::string layout;
  std::string type;  // of raw ids, "uint16" or "uint32"; empty: "uint16"
};

// A file of token ids that another program wrote, mapped. Thread-safe.
class TokenFile {
 public:
  // INVALID_ARGUMENT, with file, byte and limit: an empty file, one that ends inside an id or was
  // cut short, another header than llm.c's, or 32-bit ids that were announced as 16-bit.
  static absl::StatusOr<TokenFile> Open(const std::filesystem::path& path,
                                        const TokenFileFormat& format);

  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return file_.bytes(); }  // the whole file
  int64_t tokens() const { return tokens_; }
  // REQUIRES: index < tokens().
  uint32_t id(int64_t index) const;
  // Where in the file a token stands.
  int64_t ByteOffset(int64_t index) const { return header_bytes_ + index * width_; }

 private:
  absl::Status ReadLlmcHeader();
  absl::Status Bad(int64_t offset, const std::string& reason) const;

  std::filesystem::path path_;
  MappedFile file_;
  int64_t header_bytes_ = 0;
  int64_t width_ = 2;
  int64_t tokens_ = 0;
};

}  // namespace wavefield
