#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/manifest.h"
#include "core/data/token_shard.h"

namespace wavefield {

// Writes one split as shards NAME-00000.tokens, NAME-00001.tokens, … Not thread-safe.
class SplitWriter {
 public:
  // REQUIRES: shard_tokens >= 1.
  SplitWriter(std::filesystem::path directory, std::string name, int64_t vocab_size,
              int32_t separator_id, int64_t shard_tokens);

  // A shard takes segments until the next would bring it above shard_tokens (or 4 million
  // segments).
  absl::Status Append(std::span<const int32_t> tokens, uint32_t text_bytes, bool ends_document);
  absl::StatusOr<SplitManifest> Finish();

 private:
  absl::Status FinishShard();

  const std::filesystem::path directory_;
  const std::string name_;
  const int64_t vocab_size_;
  const int32_t separator_id_;
  const uint64_t shard_tokens_;
  std::optional<ShardWriter> shard_;
  std::string file_;  // of shard_
  SplitManifest manifest_;
};

}  // namespace wavefield
