#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace wavefield {

inline constexpr char kTokenizerFile[] = "tokenizer.json";
inline constexpr char kTokenizerModelFile[] = "tokenizer.model";

// What a program must know of a tokenizer without being able to run it: tokenizer.json, which lies
// in a dataset's directory and in a checkpoint's.
struct TokenizerDescription {
  std::string kind;  // "bpe" (a SentencePiece model lies beside it) or "bytes"
  int32_t separator_id = 0;
  std::string model_sha256;          // of tokenizer.model; empty for "bytes"
  std::vector<uint8_t> token_bytes;  // bytes of text of every id, 0 for the separator

  int64_t vocab_size() const { return static_cast<int64_t>(token_bytes.size()); }

  std::string ToJson() const;
  // DATA_LOSS with the reason.
  static absl::StatusOr<TokenizerDescription> FromJson(std::string_view json);
  // Reads `directory`/tokenizer.json.
  static absl::StatusOr<TokenizerDescription> Load(const std::filesystem::path& directory);
};

}  // namespace wavefield
