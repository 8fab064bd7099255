#include "core/data/tokenizer/dataset_inspection.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "core/base/status_macros.h"
#include "core/data/dataset.h"
#include "core/data/tokenizer/tokenizer.h"
#include "core/data/tokenizer/utf8.h"

namespace wavefield {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kBlocks = 64;
constexpr int64_t kReadTokens = 1 << 16;

struct TokenRange {
  int64_t begin;
  int64_t end;
};

// All of `total` where the budget allows it, else blocks that are spread evenly.
std::vector<TokenRange> ChooseBlocks(int64_t total, int64_t budget) {
  if (total <= budget) return {{0, total}};
  const int64_t length = std::max<int64_t>(budget / kBlocks, 1);
  std::vector<TokenRange> blocks;
  for (int64_t i = 0; i < kBlocks; ++i) {
    const auto begin = static_cast<int64_t>(static_cast<double>(total - length) *
                                            static_cast<double>(i) / (kBlocks - 1));
    blocks.push_back({begin, begin + length});
  }
  return blocks;
}

// The first segment of a shard that begins at `token` or later.
uint64_t FindSegment(const TokenShard& shard, int64_t token) {
  uint64_t low = 0;
  for (uint64_t high = shard.header().segments; low < high;) {
    const uint64_t middle = low + (high - low) / 2;
    if (static_cast<int64_t>(shard.segment(middle).first_token) < token) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Documents by their length in tokens, without the separator.
using Lengths = std::map<int64_t, int64_t>;

// Adds the documents that lie within `block` as a whole.
void CountDocuments(const TokenStream& stream, TokenRange block, Lengths& lengths) {
  std::optional<int64_t> length;  // of the document so far; none: its beginning was not seen
  if (block.begin == 0) length = 0;
  int64_t shard_begin = 0;
  for (const TokenShard& shard : stream.shards()) {
    const uint64_t segments = shard.header().segments;
    for (uint64_t i = FindSegment(shard, block.begin - shard_begin); i < segments; ++i) {
      const ShardSegment segment = shard.segment(i);
      const int64_t end = i + 1 < segments ? static_cast<int64_t>(shard.segment(i + 1).first_token)
                                           : shard.tokens();
      if (shard_begin + end > block.end) return;
      if (length) *length += end - static_cast<int64_t>(segment.first_token);
      if (!segment.ends_document) continue;
      if (length) ++lengths[*length - 1];
      length = 0;
    }
    shard_begin += shard.tokens();
  }
}

// Where a segment begins, at `token` or soon after it; `token` itself where none does.
int64_t SegmentAt(const TokenStream& stream, int64_t token) {
  int64_t shard_begin = 0;
  for (const TokenShard& shard : stream.shards()) {
    if (token < shard_begin + shard.tokens()) {
      const uint64_t segment = FindSegment(shard, token - shard_begin);
      if (segment == shard.header().segments) return token;
      return shard_begin + static_cast<int64_t>(shard.segment(segment).first_token);
    }
    shard_begin += shard.tokens();
  }
  return token;
}

std::string TextOf(const Tokenizer* tokenizer, std::span<const int32_t> ids) {
  std::string text;
  if (tokenizer == nullptr) return text;
  Utf8Cleaner cleaner;
  cleaner.Feed(tokenizer->Decode(ids), text);
  cleaner.Finish(text);
  return text;
}

Json Samples(const TokenStream& stream, const Tokenizer* tokenizer,
             const InspectionOptions& options) {
  Json samples = Json::array();
  for (int i = 0; i < options.samples && stream.size() > 0; ++i) {
    const int64_t position = SegmentAt(stream, stream.size() / options.samples * i);
    if (!samples.empty() && samples.back()["position"] == position) continue;
    std::vector<int32_t> ids(
        static_cast<size_t>(std::min<int64_t>(options.sample_tokens, stream.size() - position)));
    stream.Copy(position, ids);
    samples.push_back(
        {{"position", position}, {"token_ids", ids}, {"text", TextOf(tokenizer, ids)}});
  }
  return samples;
}

Json FrequentTokens(const std::vector<int64_t>& counts, const Tokenizer* tokenizer, int limit) {
  std::vector<int32_t> ids(counts.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + std::min<ptrdiff_t>(limit, static_cast<ptrdiff_t>(ids.size()));
  const auto count_of = [&](int32_t id) { return counts[static_cast<size_t>(id)]; };
  std::partial_sort(ids.begin(), end, ids.end(), [&](int32_t a, int32_t b) {
    return count_of(a) != count_of(b) ? count_of(a) > count_of(b) : a < b;
  });
  Json frequent = Json::array();
  for (auto id = ids.begin(); id != end && count_of(*id) > 0; ++id) {
    frequent.push_back(
        {{"token_id", *id}, {"text", TextOf(tokenizer, {&*id, 1})}, {"count", count_of(*id)}});
  }
  return frequent;
}

// The length that a share of the documents does not exceed.
int64_t Percentile(const Lengths& lengths, int64_t documents, double share) {
  auto below = static_cast<int64_t>(share * static_cast<double>(documents - 1));
  for (const auto& [length, count] : lengths) {
    if (below < count) return length;
    below -= count;
  }
  return lengths.rbegin()->first;
}

void AddLengths(const Lengths& lengths, Json& json) {
  int64_t documents = 0;
  double tokens = 0;
  std::map<int64_t, int64_t> buckets;  // by their largest length
  for (const auto& [length, count] : lengths) {
    documents += count;
    tokens += static_cast<double>(length) * static_cast<double>(count);
    int64_t most = 1;
    while (most < length) most *= 2;
    buckets[most] += count;
  }
  json["scanned_documents"] = documents;
  if (documents == 0) return;
  json["document_tokens_p10"] = Percentile(lengths, documents, 0.1);
  json["document_tokens_p50"] = Percentile(lengths, documents, 0.5);
  json["document_tokens_p90"] = Percentile(lengths, documents, 0.9);
  json["document_tokens_max"] = lengths.rbegin()->first;
  json["document_tokens_mean"] = tokens / static_cast<double>(documents);
  Json list = Json::array();
  for (int64_t most = buckets.begin()->first; most <= buckets.rbegin()->first; most *= 2) {
    list.push_back({{"max_tokens", most}, {"documents", buckets[most]}});
  }
  json["document_lengths"] = std::move(list);
}

Json SplitCounts(const SplitManifest& split) {
  return {{"tokens", split.tokens()},
          {"documents", split.documents()},
          {"text_bytes", split.text_bytes()}};
}

}  // namespace

absl::StatusOr<Json> InspectDataset(const std::filesystem::path& directory,
                                    const InspectionOptions& options) {
  WF_ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(directory, VerifyMode::kQuick));
  auto loaded = Tokenizer::Load(directory);
  if (!loaded.ok() && !absl::IsFailedPrecondition(loaded.status())) return loaded.status();
  const Tokenizer* tokenizer = loaded.ok() ? loaded->get() : nullptr;
  const SplitManifest& split = dataset.manifest().train;
  Json json = {{"train", SplitCounts(split)},
               {"validation", SplitCounts(dataset.manifest().validation)},
               {"separator_id", dataset.separator_id()},
               {"has_text", tokenizer != nullptr},
               {"tokens_per_byte",
                split.text_bytes() > 0
                    ? static_cast<double>(split.tokens()) / static_cast<double>(split.text_bytes())
                    : 0.0},
               {"samples", Samples(dataset.train(), tokenizer, options)}};

  std::vector<int64_t> counts(static_cast<size_t>(dataset.vocab_size()));
  Lengths lengths;
  int64_t scanned = 0;
  std::vector<int32_t> ids;
  for (const TokenRange& block : ChooseBlocks(dataset.train().size(), options.scanned_tokens)) {
    for (int64_t at = block.begin; at < block.end; at += kReadTokens) {
      ids.resize(static_cast<size_t>(std::min(kReadTokens, block.end - at)));
      dataset.train().Copy(at, ids);
      for (const int32_t id : ids) ++counts[static_cast<size_t>(id)];
    }
    scanned += block.end - block.begin;
    CountDocuments(dataset.train(), block, lengths);
  }
  json["scanned_tokens"] = scanned;
  json["distinct_tokens"] =
      std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; });
  json["frequent_tokens"] = FrequentTokens(counts, tokenizer, options.frequent_tokens);
  AddLengths(lengths, json);
  return json;
}

}  // namespace wavefield
