#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/tokenizer/prepare.h"
#include "core/data/tokenizer/token_file.h"

namespace wavefield {

struct ImportOptions {
  std::string name;
  std::vector<std::filesystem::path> train;
  std::vector<std::filesystem::path> validation;
  TokenFileFormat format;
  // Every id is below it. Of a SentencePiece model: none, or the number of its pieces.
  std::optional<int64_t> vocab_size;
  // The id that stands at the end, or the beginning, of each document.
  std::optional<int32_t> separator_id;
  std::filesystem::path model_file;        // a SentencePiece model; empty: none
  std::filesystem::path token_bytes_file;  // a JSON list of the bytes of every id; empty: none
  // 0 to 0.5, where there are no validation files; none: by the number of tokens.
  std::optional<double> validation_fraction;
  int64_t shard_tokens = int64_t{64} << 20;
};

// Makes a dataset of token files, in `staging`, which is open, and publishes it. The tokens stay as
// they are, in their order, but for those that are held out. INVALID_ARGUMENT names file, byte,
// value and limit of what cannot be imported. Progress comes from the calling thread.
absl::StatusOr<PrepareResult> Import(const ImportOptions& options, StagedFolder& staging,
                                     const std::function<void(const PrepareProgress&)>& progress);

}  // namespace wavefield
