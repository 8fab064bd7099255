#include "core/data/dataset.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr uint64_t kMaxManifestBytes = uint64_t{256} << 20;

absl::StatusOr<TokenStream> OpenSplit(const std::filesystem::path& directory,
                                      const SplitManifest& split, int64_t vocab_size,
                                      int32_t separator_id, VerifyMode mode) {
  std::vector<TokenShard> shards;
  for (const ShardManifest& expected : split.shards) {
    const auto path = directory / expected.file;
    auto shard = TokenShard::Open(path);
    if (absl::IsNotFound(shard.status())) {
      return absl::DataLossError(
          absl::StrCat("the dataset's file is missing: ", shard.status().message(),
                       "; restore it or prepare the dataset again"));
    }
    WF_RETURN_IF_ERROR(shard.status());
    const ShardHeader& header = shard->header();
    if (header.payload_sha256 != expected.sha256 ||
        static_cast<int64_t>(header.tokens) != expected.tokens ||
        static_cast<int64_t>(header.segments) != expected.segments ||
        static_cast<int64_t>(header.documents) != expected.documents ||
        static_cast<int64_t>(header.text_bytes) != expected.text_bytes ||
        header.vocab_size != vocab_size || header.separator_id != separator_id) {
      return absl::DataLossError(
          absl::StrCat(path.string(), " is not the file that ", kDatasetManifestFile,
                       " describes: it changed or was replaced; prepare the dataset again"));
    }
    if (mode == VerifyMode::kFull) WF_RETURN_IF_ERROR(shard->Verify());
    shards.push_back(*std::move(shard));
  }
  return TokenStream(std::move(shards));
}

absl::Status CheckDigest(const std::filesystem::path& path, const std::string& expected) {
  WF_ASSIGN_OR_RETURN(const std::string actual, Sha256HexOfFile(path));
  if (actual == expected) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path.string(), " does not match its SHA-256 in the dataset (", actual,
                   " instead of ", expected, "): it changed; prepare the dataset again"));
}

}  // namespace

TokenStream::TokenStream(std::vector<TokenShard> shards) : shards_(std::move(shards)) {
  for (const TokenShard& shard : shards_) starts_.push_back(starts_.back() + shard.tokens());
}

void TokenStream::Copy(int64_t begin, std::span<int32_t> out) const {
  WF_CHECK(begin >= 0 && begin <= size() && static_cast<int64_t>(out.size()) <= size() - begin);
  if (out.empty()) return;
  auto shard = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), begin) -
                                   starts_.begin() - 1);
  for (; !out.empty(); ++shard) {
    const auto part = static_cast<size_t>(
        std::min<int64_t>(static_cast<int64_t>(out.size()), starts_[shard + 1] - begin));
    shards_[shard].Copy(begin - starts_[shard], out.first(part));
    out = out.subspan(part);
    begin += static_cast<int64_t>(part);
  }
}

absl::StatusOr<Dataset> Dataset::Open(const std::filesystem::path& directory, VerifyMode mode) {
  Dataset dataset;
  dataset.directory_ = directory;
  const auto manifest_path = directory / kDatasetManifestFile;
  auto text = ReadFile(manifest_path, kMaxManifestBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(directory.string(), " holds no finished dataset: ", text.status().message()));
  }
  WF_RETURN_IF_ERROR(text.status());
  auto manifest = DatasetManifest::FromJson(*text);
  if (!manifest.ok()) {
    return absl::DataLossError(
        absl::StrCat(manifest_path.string(), " is corrupt: ", manifest.status().message()));
  }
  dataset.manifest_ = *std::move(manifest);
  dataset.content_hash_ = dataset.manifest_.ContentHash();

  const TokenizerManifest& tokenizer = dataset.manifest_.tokenizer;
  WF_RETURN_IF_ERROR(CheckDigest(directory / kTokenizerFile, tokenizer.sha256));
  WF_ASSIGN_OR_RETURN(dataset.tokenizer_, TokenizerDescription::Load(directory));
  if (dataset.tokenizer_.kind != tokenizer.kind ||
      dataset.tokenizer_.vocab_size != tokenizer.vocab_size ||
      dataset.tokenizer_.separator_id != tokenizer.separator_id ||
      dataset.tokenizer_.model_sha256 != tokenizer.model_sha256) {
    return absl::DataLossError(
        absl::StrCat(manifest_path.string(), " and ", kTokenizerFile, " disagree"));
  }
  if (mode == VerifyMode::kFull && !tokenizer.model_sha256.empty()) {
    WF_RETURN_IF_ERROR(CheckDigest(directory / kTokenizerModelFile, tokenizer.model_sha256));
  }
  const auto open = [&](const SplitManifest& split) {
    return OpenSplit(directory, split, tokenizer.vocab_size, tokenizer.separator_id, mode);
  };
  WF_ASSIGN_OR_RETURN(dataset.train_, open(dataset.manifest_.train));
  WF_ASSIGN_OR_RETURN(dataset.validation_, open(dataset.manifest_.validation));
  return dataset;
}

}  // namespace wavefield
