#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/staged_folder.h"
#include "core/data/manifest.h"
#include "core/data/tokenizer/corpus.h"

namespace wavefield {

struct PrepareOptions {
  CorpusOptions corpus;
  std::string name;
  std::string tokenizer = "bpe";              // or "bytes", or "sentencepiece"
  std::filesystem::path model_file;           // of "sentencepiece"
  int64_t vocab_size = 4096;                  // of "bpe": kMinBpeVocabSize to kMaxBpeVocabSize
  std::optional<double> validation_fraction;  // 0 to 0.5; none: by the size of the text
  int threads = 1;
  int64_t shard_tokens = int64_t{64} << 20;
};

struct PrepareProgress {
  const char* stage;  // "read", "train" or "encode"; of Import() "check" or "write"
  int64_t done;       // bytes of text; of Import() tokens
  int64_t total;
};

struct PrepareResult {
  DatasetManifest manifest;
  std::string content_hash;
  std::vector<std::string> ignored;   // files that were not read
  std::vector<std::string> messages;  // what a person should know
};

// Makes a dataset from text, in `staging`, which is open, and publishes it. The tokens are a
// function of the text and the options other than `threads`. Progress comes from the calling
// thread.
absl::StatusOr<PrepareResult> Prepare(const PrepareOptions& options, StagedFolder& staging,
                                      const std::function<void(const PrepareProgress&)>& progress);

}  // namespace wavefield
