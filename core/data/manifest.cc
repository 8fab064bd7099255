#include "core/data/manifest.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/data/token_shard.h"

namespace wavefield {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "wavefield-dataset";
constexpr int kVersion = 1;
constexpr int64_t kMaxCount = int64_t{1} << 48;  // far from overflow when a few thousand are added
constexpr size_t kMaxShards = 1 << 14;

// What a manifest can be wrong in; turned into a status at the end of FromJson.
struct BadManifest {
  std::string reason;
};

int64_t Count(const Json& object, const char* key) {
  const auto value = object.at(key).get<int64_t>();
  if (value < 0 || value > kMaxCount) {
    throw BadManifest{absl::StrCat("'", key, "' is ", value, "; allowed: 0 to ", kMaxCount)};
  }
  return value;
}

std::string Digest(const Json& object, const char* key) {
  auto value = object.at(key).get<std::string>();
  if (value.size() != 64 || value.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw BadManifest{absl::StrCat("'", key, "' must be 64 hexadecimal digits")};
  }
  return value;
}

Json SplitToJson(const SplitManifest& split) {
  Json shards = Json::array();
  for (const ShardManifest& shard : split.shards) {
    shards.push_back({{"file", shard.file},
                      {"tokens", shard.tokens},
                      {"segments", shard.segments},
                      {"documents", shard.documents},
                      {"text_bytes", shard.text_bytes},
                      {"sha256", shard.sha256}});
  }
  return {{"tokens", split.tokens()},
          {"segments", split.segments()},
          {"documents", split.documents()},
          {"text_bytes", split.text_bytes()},
          {"shards", std::move(shards)}};
}

SplitManifest SplitFromJson(const Json& json) {
  SplitManifest split;
  const Json& shards = json.at("shards");
  if (!shards.is_array() || shards.size() > kMaxShards) {
    throw BadManifest{absl::StrCat("'shards' must be a list of at most ", kMaxShards)};
  }
  for (const Json& shard : shards) {
    auto file = shard.at("file").get<std::string>();
    if (file.empty() || file.front() == '.' || file.find('/') != std::string::npos) {
      throw BadManifest{absl::StrCat("shard file '", file, "' must be a plain file name")};
    }
    split.shards.push_back({.file = std::move(file),
                            .tokens = Count(shard, "tokens"),
                            .segments = Count(shard, "segments"),
                            .documents = Count(shard, "documents"),
                            .text_bytes = Count(shard, "text_bytes"),
                            .sha256 = Digest(shard, "sha256")});
  }
  if (Count(json, "tokens") != split.tokens() || Count(json, "segments") != split.segments() ||
      Count(json, "documents") != split.documents() ||
      Count(json, "text_bytes") != split.text_bytes()) {
    throw BadManifest{"a split's counts are not the sums of its shards'"};
  }
  return split;
}

template <typename Member>
int64_t Sum(const SplitManifest& split, Member member) {
  int64_t sum = 0;
  for (const ShardManifest& shard : split.shards) sum += shard.*member;
  return sum;
}

}  // namespace

int64_t SplitManifest::tokens() const { return Sum(*this, &ShardManifest::tokens); }
int64_t SplitManifest::segments() const { return Sum(*this, &ShardManifest::segments); }
int64_t SplitManifest::documents() const { return Sum(*this, &ShardManifest::documents); }
int64_t SplitManifest::text_bytes() const { return Sum(*this, &ShardManifest::text_bytes); }

std::string DatasetManifest::ContentHash() const {
  std::string text = absl::StrCat(kFormat, " ", kVersion, "\ntokenizer ", tokenizer.kind, " ",
                                  tokenizer.vocab_size, " ", tokenizer.separator_id, " ",
                                  tokenizer.model_sha256, "\n");
  const auto add = [&](const char* name, const SplitManifest& split) {
    for (const ShardManifest& shard : split.shards) {
      absl::StrAppend(&text, name, " ", shard.tokens, " ", shard.sha256, "\n");
    }
  };
  add("train", train);
  add("validation", validation);
  return Sha256Hex(text);
}

std::string DatasetManifest::ToJson() const {
  Json source_list = Json::array();
  for (const SourceManifest& source : sources) {
    Json json = {{"path", source.path},
                 {"bytes", source.bytes},
                 {"sha256", source.sha256},
                 {"documents", source.documents},
                 {"text_bytes", source.text_bytes},
                 {"invalid_utf8", source.invalid_utf8}};
    if (source.first_invalid_offset) json["first_invalid_offset"] = *source.first_invalid_offset;
    source_list.push_back(std::move(json));
  }
  const Json json = {
      {"format", kFormat},
      {"version", kVersion},
      {"name", name},
      {"content_hash", ContentHash()},
      {"tokenizer",
       {{"kind", tokenizer.kind},
        {"vocab_size", tokenizer.vocab_size},
        {"requested_vocab_size", tokenizer.requested_vocab_size},
        {"separator_id", tokenizer.separator_id},
        {"sha256", tokenizer.sha256},
        {"model_sha256", tokenizer.model_sha256}}},
      {"splits", {{"train", SplitToJson(train)}, {"validation", SplitToJson(validation)}}},
      {"options", options},
      {"sources", std::move(source_list)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<DatasetManifest> DatasetManifest::FromJson(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    if (json.at("format") != kFormat)
      return absl::DataLossError("'format' is not 'wavefield-dataset'");
    if (json.at("version") != kVersion) {
      return absl::DataLossError(
          absl::StrCat("version ", json.at("version").dump(), "; this program reads ", kVersion));
    }
    DatasetManifest manifest;
    manifest.name = json.at("name").get<std::string>();
    const Json& tokenizer = json.at("tokenizer");
    manifest.tokenizer.kind = tokenizer.at("kind").get<std::string>();
    manifest.tokenizer.vocab_size = Count(tokenizer, "vocab_size");
    manifest.tokenizer.requested_vocab_size = Count(tokenizer, "requested_vocab_size");
    const auto separator = tokenizer.at("separator_id").get<int64_t>();
    if (separator < kNoSeparator || separator >= manifest.tokenizer.vocab_size ||
        separator > std::numeric_limits<int32_t>::max()) {
      return absl::DataLossError(absl::StrCat("separator_id ", separator, " in a vocabulary of ",
                                              manifest.tokenizer.vocab_size));
    }
    manifest.tokenizer.separator_id = static_cast<int32_t>(separator);
    manifest.tokenizer.sha256 = Digest(tokenizer, "sha256");
    manifest.tokenizer.model_sha256 = tokenizer.at("model_sha256").get<std::string>();
    manifest.train = SplitFromJson(json.at("splits").at("train"));
    manifest.validation = SplitFromJson(json.at("splits").at("validation"));
    manifest.options = json.at("options");
    for (const Json& source : json.at("sources")) {
      manifest.sources.push_back({.path = source.at("path").get<std::string>(),
                                  .bytes = Count(source, "bytes"),
                                  .sha256 = Digest(source, "sha256"),
                                  .documents = Count(source, "documents"),
                                  .text_bytes = Count(source, "text_bytes"),
                                  .invalid_utf8 = Count(source, "invalid_utf8"),
                                  .first_invalid_offset = std::nullopt});
      if (source.contains("first_invalid_offset")) {
        manifest.sources.back().first_invalid_offset = Count(source, "first_invalid_offset");
      }
    }
    if (json.at("content_hash") != manifest.ContentHash()) {
      return absl::DataLossError("'content_hash' does not match the tokenizer and shards it names");
    }
    return manifest;
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(error.what());
  } catch (const BadManifest& bad) {
    return absl::DataLossError(bad.reason);
  }
}

}  // namespace wavefield
