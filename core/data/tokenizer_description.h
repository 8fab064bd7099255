#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/token_shard.h"

namespace wavefield {

inline constexpr char kTokenizerFile[] = "tokenizer.json";
inline constexpr char kTokenizerModelFile[] = "tokenizer.model";

// What a program must know of a tokenizer without being able to run it: tokenizer.json, which lies
// in a dataset's directory and in a checkpoint's.
struct TokenizerDescription {
  // "bpe" or "sentencepiece", made here or elsewhere: a SentencePiece model lies beside it.
  // "bytes". "ids": tokens that came without a tokenizer.
  std::string kind;
  int64_t vocab_size = 0;
  int32_t separator_id = kNoSeparator;
  std::string model_sha256;  // of tokenizer.model; empty for "bytes" and "ids"
  // Bytes of text of every id, 0 for the separator. Empty, of "ids" only: not known.
  std::vector<uint8_t> token_bytes;

  bool has_model() const { return kind == "bpe" || kind == "sentencepiece"; }

  std::string ToJson() const;
  // DATA_LOSS with the reason.
  static absl::StatusOr<TokenizerDescription> FromJson(std::string_view json);
  // Reads `directory`/tokenizer.json.
  static absl::StatusOr<TokenizerDescription> Load(const std::filesystem::path& directory);
};

}  // namespace wavefield
