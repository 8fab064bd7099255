#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace wavefield {

inline constexpr char kDatasetManifestFile[] = "manifest.json";

struct ShardManifest {
  std::string file;  // a plain name within the dataset's directory
  int64_t tokens = 0;
  int64_t segments = 0;
  int64_t documents = 0;
  int64_t text_bytes = 0;  // 0: not known
  std::string sha256;      // of the shard's contents after its header
};

struct SplitManifest {
  std::vector<ShardManifest> shards;

  // Sums over the shards.
  int64_t tokens() const;
  int64_t segments() const;
  int64_t documents() const;
  int64_t text_bytes() const;
};

// A file that text or tokens were read from.
struct SourceManifest {
  std::string path;  // as it was named on the command line, or below a folder that was
  int64_t bytes = 0;
  std::string sha256;
  int64_t documents = 0;     // 0: not told apart
  int64_t text_bytes = 0;    // after decompression and replacement of invalid UTF-8; 0: not known
  int64_t invalid_utf8 = 0;  // sequences that were replaced by U+FFFD
  std::optional<int64_t> first_invalid_offset;  // in the decompressed file
};

struct TokenizerManifest {
  std::string kind;
  int64_t vocab_size = 0;
  int64_t requested_vocab_size = 0;
  int32_t separator_id = 0;  // or kNoSeparator
  std::string sha256;        // of tokenizer.json
  std::string model_sha256;  // of tokenizer.model; empty where there is none
};

// manifest.json: what a dataset's directory holds. It is written last: where it is, the dataset is
// complete.
struct DatasetManifest {
  std::string name;
  TokenizerManifest tokenizer;
  SplitManifest train;
  SplitManifest validation;
  std::vector<SourceManifest> sources;
  nlohmann::ordered_json options;  // what the dataset was prepared with; for people

  // SHA-256 over what identifies the tokens: tokenizer, splits, contents of the shards in order.
  // Two datasets with the same hash hold the same tokens, whatever they are called and came from.
  std::string ContentHash() const;

  std::string ToJson() const;
  // DATA_LOSS with the reason, also when the stored content hash does not match.
  static absl::StatusOr<DatasetManifest> FromJson(std::string_view json);
};

}  // namespace wavefield
