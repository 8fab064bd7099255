#include "coordinator/datasets/dataset_request.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "coordinator/admission/admission.h"
#include "coordinator/jobs/checkpoint_catalogue.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxSources = 10'000;
constexpr int64_t kMaxSourceBytes = int64_t{1} << 42;
constexpr int kMinVocabulary = 256;
constexpr int kMaxVocabulary = 1 << 20;

bool HasKnownExtension(const std::string& path) {
  std::string name = path;
  if (name.ends_with(".gz") || name.ends_with(".dz")) name.resize(name.size() - 3);
  return name.ends_with(".txt") || name.ends_with(".jsonl");
}

bool IsDigest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

absl::Status CheckDatasetConfig(const wavefield::v1::CreateDatasetConfig& config) {
  std::vector<FieldViolation> violations;
  const auto refuse = [&](const std::string& field, std::string description) {
    violations.push_back({field, std::move(description)});
  };
  if (!IsResourceId(config.dataset_id())) {
    refuse("dataset_id", fmt::format("is '{}'; allowed: [a-z][a-z0-9-]{{0,62}}",
                                     Shortened(config.dataset_id(), 80)));
  }
  const auto& options = config.options();
  if (options.has_tokenizer() && options.tokenizer() != "bpe" && options.tokenizer() != "bytes") {
    refuse("options.tokenizer",
           fmt::format("is '{}'; allowed: 'bpe', 'bytes'", Shortened(options.tokenizer(), 40)));
  }
  if (options.has_vocab_size() &&
      (options.vocab_size() < kMinVocabulary || options.vocab_size() > kMaxVocabulary)) {
    refuse("options.vocab_size", fmt::format("is {}; allowed: {} to {}", options.vocab_size(),
                                             kMinVocabulary, kMaxVocabulary));
  }
  if (options.has_validation_fraction() &&
      !(options.validation_fraction() >= 0 && options.validation_fraction() <= 0.5)) {
    refuse("options.validation_fraction",
           fmt::format("is {}; allowed: 0 to 0.5", options.validation_fraction()));
  }
  if (options.field().size() > 256) refuse("options.field", "has more than 256 bytes");
  if (options.document_separator().size() > 256) {
    refuse("options.document_separator", "has more than 256 bytes");
  }
  if (config.sources().empty() || config.sources_size() > kMaxSources) {
    refuse("sources",
           fmt::format("has {} files; allowed: 1 to {}", config.sources_size(), kMaxSources));
  }
  std::set<std::string> paths;
  int64_t bytes = 0;
  for (const auto& source : config.sources()) {
    const std::string path = Shortened(source.path(), 200);
    if (violations.size() > 20) break;
    if (!IsSafeRelativePath(source.path())) {
      refuse("sources.path", fmt::format("is '{}'; allowed: a relative path without '..'", path));
    } else if (!HasKnownExtension(source.path())) {
      refuse("sources.path",
             fmt::format("is '{}'; allowed: .txt and .jsonl, also with .gz or .dz", path));
    } else if (!paths.insert(source.path()).second) {
      refuse("sources.path", fmt::format("has '{}' twice", path));
    }
    if (source.bytes() < 0 || source.bytes() > kMaxSourceBytes) {
      refuse("sources.bytes", fmt::format("is {} for '{}'; allowed: 0 to {}", source.bytes(), path,
                                          kMaxSourceBytes));
    } else {
      bytes += source.bytes();
    }
    if (!IsDigest(source.sha256())) {
      refuse("sources.sha256",
             fmt::format("of '{}' is not 64 hexadecimal digits in lower case", path));
    }
  }
  if (violations.empty() && (bytes == 0 || bytes > kMaxSourceBytes)) {
    refuse("sources", fmt::format("hold {} bytes; allowed: 1 to {}", bytes, kMaxSourceBytes));
  }
  return ViolationsToStatus(violations);
}

void FillDatasetDefaults(wavefield::v1::DatasetOptions& options) {
  if (!options.has_tokenizer()) options.set_tokenizer("bpe");
  if (options.tokenizer() == "bytes") {
    options.clear_vocab_size();
  } else if (!options.has_vocab_size()) {
    options.set_vocab_size(4096);
  }
  if (!options.has_field()) options.set_field("text");
}

std::string SourceHash(const wavefield::v1::CreateDatasetConfig& config) {
  wavefield::v1::CreateDatasetConfig hashed = config;
  hashed.clear_dataset_id();
  FillDatasetDefaults(*hashed.mutable_options());
  return PayloadHash(hashed);
}

}  // namespace wavefield::coordinator
