#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/manifest.h"
#include "core/data/token_shard.h"
#include "core/data/tokenizer_description.h"

namespace wavefield {

enum class VerifyMode {
  kQuick,  // manifest, tokenizer.json, and the header and size of every shard
  kFull,   // and the contents of every shard and of tokenizer.model (about 1 GB/s)
};

// One split of a dataset: the tokens of its shards, one after the other, mapped into memory.
// Reading is thread-safe.
class TokenStream {
 public:
  TokenStream() = default;
  explicit TokenStream(std::vector<TokenShard> shards);

  // Tokens in the split; may be 0 for validation.
  int64_t size() const { return starts_.back(); }
  // Tokens begin … begin + out.size() − 1. REQUIRES: in range. Every id is below the dataset's
  // vocab_size: a damaged file aborts the program instead.
  void Copy(int64_t begin, std::span<int32_t> out) const;

  const std::vector<TokenShard>& shards() const { return shards_; }

 private:
  std::vector<TokenShard> shards_;
  std::vector<int64_t> starts_ = {0};  // of each shard, and the end
};

// A directory that wavefield-tokenizer prepared. Immutable; thread-safe.
class Dataset {
 public:
  // NOT_FOUND where there is no finished dataset; DATA_LOSS, naming file and reason, where a file
  // is missing, damaged or is not the one that the manifest describes.
  static absl::StatusOr<Dataset> Open(const std::filesystem::path& directory, VerifyMode mode);

  const std::filesystem::path& directory() const { return directory_; }
  const DatasetManifest& manifest() const { return manifest_; }
  const std::string& content_hash() const { return content_hash_; }
  const TokenStream& train() const { return train_; }
  const TokenStream& validation() const { return validation_; }
  // Ids are below it; not padded.
  int64_t vocab_size() const { return tokenizer_.vocab_size; }
  // kNoSeparator: documents are not told apart.
  int32_t separator_id() const { return tokenizer_.separator_id; }
  // Bytes of text of every id; 0 for the separator. Summed over tokens, it is the size of their
  // text. Empty: not known, for tokens that came without a tokenizer.
  std::span<const uint8_t> token_bytes() const { return tokenizer_.token_bytes; }

 private:
  Dataset() = default;

  std::filesystem::path directory_;
  DatasetManifest manifest_;
  std::string content_hash_;
  TokenizerDescription tokenizer_;
  TokenStream train_;
  TokenStream validation_;
};

}  // namespace wavefield
