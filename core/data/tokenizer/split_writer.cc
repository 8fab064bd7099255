#include "core/data/tokenizer/split_writer.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr uint64_t kMaxShardSegments = uint64_t{4} << 20;  // bounds the table held in memory

}  // namespace

SplitWriter::SplitWriter(std::filesystem::path directory, std::string name, int64_t vocab_size,
                         int32_t separator_id, int64_t shard_tokens)
    : directory_(std::move(directory)),
      name_(std::move(name)),
      vocab_size_(vocab_size),
      separator_id_(separator_id),
      shard_tokens_(static_cast<uint64_t>(shard_tokens)) {}

absl::Status SplitWriter::Append(std::span<const int32_t> tokens, uint32_t text_bytes,
                                 bool ends_document) {
  if (shard_ && (shard_->header().tokens + tokens.size() > shard_tokens_ ||
                 shard_->header().segments == kMaxShardSegments)) {
    WF_RETURN_IF_ERROR(FinishShard());
  }
  if (!shard_) {
    file_ = absl::StrFormat("%s-%05d.tokens", name_, manifest_.shards.size());
    WF_ASSIGN_OR_RETURN(shard_,
                        ShardWriter::Create(directory_ / file_, vocab_size_, separator_id_));
  }
  return shard_->Append(tokens, text_bytes, ends_document);
}

absl::StatusOr<SplitManifest> SplitWriter::Finish() {
  if (shard_) WF_RETURN_IF_ERROR(FinishShard());
  return std::move(manifest_);
}

absl::Status SplitWriter::FinishShard() {
  WF_ASSIGN_OR_RETURN(const ShardHeader header, shard_->Finish());
  shard_.reset();
  manifest_.shards.push_back({.file = file_,
                              .tokens = static_cast<int64_t>(header.tokens),
                              .segments = static_cast<int64_t>(header.segments),
                              .documents = static_cast<int64_t>(header.documents),
                              .text_bytes = static_cast<int64_t>(header.text_bytes),
                              .sha256 = header.payload_sha256});
  return absl::OkStatus();
}

}  // namespace wavefield
