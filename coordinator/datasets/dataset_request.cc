#include "coordinator/datasets/dataset_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "coordinator/admission/admission.h"
#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxSources = 10'000;  // as in the proto and the command line
constexpr int kMaxTokenFiles = 2'000;
constexpr size_t kMaxTokenFilePath = 255;  // so that all fit a command
constexpr int64_t kMaxSourceBytes = int64_t{1} << 42;
constexpr int64_t kMaxModelBytes = int64_t{64} << 20;
constexpr int64_t kMaxTokenBytesBytes = int64_t{16} << 20;
constexpr int kMinVocabulary = 256;
constexpr int kMaxVocabulary = 1 << 20;

using Violations = std::vector<FieldViolation>;
using wavefield::v1::CreateDatasetConfig;
using wavefield::v1::SourceFile;

bool HasKnownExtension(const std::string& path) {
  std::string name = path;
  if (name.ends_with(".gz") || name.ends_with(".dz")) name.resize(name.size() - 3);
  return name.ends_with(".txt") || name.ends_with(".jsonl");
}

bool IsDigest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

int CountOf(const CreateDatasetConfig& config, wavefield::v1::SourceKind kind) {
  return static_cast<int>(
      std::count_if(config.sources().begin(), config.sources().end(),
                    [&](const SourceFile& source) { return source.kind() == kind; }));
}

void CheckOneOf(const std::string& field, bool has, const std::string& value,
                std::initializer_list<const char*> allowed, Violations& violations) {
  if (!has || std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
  violations.push_back({field, fmt::format("is '{}'; allowed: '{}'", Shortened(value, 40),
                                           fmt::join(allowed, "', '"))});
}

void CheckTextOptions(const CreateDatasetConfig& config, Violations& violations) {
  const auto& options = config.options();
  const int models = CountOf(config, wavefield::v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  CheckOneOf("options.tokenizer", options.has_tokenizer(), options.tokenizer(),
             {"bpe", "bytes", "sentencepiece"}, violations);
  if ((options.tokenizer() == "sentencepiece") != (models == 1)) {
    violations.push_back(
        {"options.tokenizer",
         fmt::format("is '{}' with {} SentencePiece models among the sources; 'sentencepiece' "
                     "takes one, others none",
                     Shortened(options.tokenizer(), 40), models)});
  }
  if (options.has_vocab_size() &&
      (options.vocab_size() < kMinVocabulary || options.vocab_size() > kMaxVocabulary)) {
    violations.push_back(
        {"options.vocab_size", fmt::format("is {}; allowed: {} to {}", options.vocab_size(),
                                           kMinVocabulary, kMaxVocabulary)});
  }
  if (models > 0 && options.has_vocab_size()) {
    violations.push_back(
        {"options.vocab_size", "is that of the SentencePiece model; leave it out"});
  }
  if (CountOf(config, wavefield::v1::SOURCE_KIND_TOKEN_BYTES) > 0) {
    violations.push_back({"sources.kind", "TOKEN_BYTES goes with token files only"});
  }
  const auto refuse_set = [&](const char* field, bool set) {
    if (set) violations.push_back({field, "goes with token files only"});
  };
  refuse_set("options.token_format", options.has_token_format());
  refuse_set("options.token_type", options.has_token_type());
  refuse_set("options.separator_id", options.has_separator_id());
}

void CheckImportOptions(const CreateDatasetConfig& config, Violations& violations) {
  const auto& options = config.options();
  const int trains = CountOf(config, wavefield::v1::SOURCE_KIND_TRAIN_TOKENS);
  const int validations = CountOf(config, wavefield::v1::SOURCE_KIND_VALIDATION_TOKENS);
  const int models = CountOf(config, wavefield::v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  const int tables = CountOf(config, wavefield::v1::SOURCE_KIND_TOKEN_BYTES);
  const auto refuse = [&](const char* field, std::string description) {
    violations.push_back({field, std::move(description)});
  };
  if (trains == 0) refuse("sources", "has no file of training tokens");
  if (trains + validations > kMaxTokenFiles) {
    refuse("sources",
           fmt::format("has {} token files; at most {}", trains + validations, kMaxTokenFiles));
  }
  if (models + tables > 1) {
    refuse("sources.kind", "has more than one SentencePiece model or table of bytes per token");
  }
  if (CountOf(config, wavefield::v1::SOURCE_KIND_UNSPECIFIED) > 0) {
    refuse("sources.kind", "has text beside token files; make two datasets");
  }
  if (models == 0 && !options.has_vocab_size()) {
    refuse("options.vocab_size", "is needed for token files without a SentencePiece model");
  } else if (options.has_vocab_size() &&
             (options.vocab_size() < 1 || options.vocab_size() > kMaxVocabulary)) {
    refuse("options.vocab_size",
           fmt::format("is {}; allowed: 1 to {}", options.vocab_size(), kMaxVocabulary));
  }
  if (options.has_separator_id() &&
      (options.separator_id() < 0 ||
       options.separator_id() >=
           (options.has_vocab_size() ? options.vocab_size() : kMaxVocabulary))) {
    refuse("options.separator_id",
           fmt::format("is {}; allowed: ids of the vocabulary", options.separator_id()));
  }
  if (validations > 0 && options.has_validation_fraction()) {
    refuse("options.validation_fraction", "goes without files of validation tokens only");
  }
  CheckOneOf("options.token_format", options.has_token_format(), options.token_format(),
             {"raw", "llm.c"}, violations);
  CheckOneOf("options.token_type", options.has_token_type(), options.token_type(),
             {"uint16", "uint32"}, violations);
  const auto refuse_set = [&](const char* field, bool set) {
    if (set) refuse(field, "goes with text only");
  };
  refuse_set("options.tokenizer", options.has_tokenizer());
  refuse_set("options.field", options.has_field());
  refuse_set("options.document_separator", options.has_document_separator());
}

// What the kind of a source asks of it.
void CheckKind(const SourceFile& source, Violations& violations) {
  const std::string path = Shortened(source.path(), 200);
  const auto limit = [&](int64_t bytes) {
    if (source.bytes() <= bytes) return;
    violations.push_back({"sources.bytes", fmt::format("is {} for '{}'; allowed: 0 to {}",
                                                       source.bytes(), path, bytes)});
  };
  switch (source.kind()) {
    case wavefield::v1::SOURCE_KIND_UNSPECIFIED:
      if (HasKnownExtension(source.path())) break;
      violations.push_back(
          {"sources.path",
           fmt::format("is '{}'; allowed: .txt and .jsonl, also with .gz or .dz", path)});
      break;
    case wavefield::v1::SOURCE_KIND_TRAIN_TOKENS:
    case wavefield::v1::SOURCE_KIND_VALIDATION_TOKENS:
      if (source.path().size() <= kMaxTokenFilePath) break;
      violations.push_back(
          {"sources.path", fmt::format("'{}' has more than {} bytes", path, kMaxTokenFilePath)});
      break;
    case wavefield::v1::SOURCE_KIND_SENTENCEPIECE_MODEL:
      limit(kMaxModelBytes);
      break;
    case wavefield::v1::SOURCE_KIND_TOKEN_BYTES:
      limit(kMaxTokenBytesBytes);
      break;
    default:
      violations.push_back({"sources.kind", fmt::format("is {} for '{}', which is not known",
                                                        static_cast<int>(source.kind()), path)});
  }
}

}  // namespace

absl::Status CheckDatasetConfig(const wavefield::v1::CreateDatasetConfig& config) {
  Violations violations;
  const auto refuse = [&](const std::string& field, std::string description) {
    violations.push_back({field, std::move(description)});
  };
  if (!IsResourceId(config.dataset_id())) {
    refuse("dataset_id", fmt::format("is '{}'; allowed: [a-z][a-z0-9-]{{0,62}}",
                                     Shortened(config.dataset_id(), 80)));
  }
  const auto& options = config.options();
  if (HasTokenFiles(config)) {
    CheckImportOptions(config, violations);
  } else {
    CheckTextOptions(config, violations);
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
  std::set<std::pair<int, std::string>> paths;
  int64_t bytes = 0;
  for (const auto& source : config.sources()) {
    const std::string path = Shortened(source.path(), 200);
    if (violations.size() > 20) break;
    if (!IsSafeRelativePath(source.path())) {
      refuse("sources.path", fmt::format("is '{}'; allowed: a relative path without '..'", path));
    } else if (!paths.insert({source.kind(), source.path()}).second) {
      refuse("sources.path", fmt::format("has '{}' twice", path));
    } else {
      CheckKind(source, violations);
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

bool HasTokenFiles(const CreateDatasetConfig& config) {
  return CountOf(config, wavefield::v1::SOURCE_KIND_TRAIN_TOKENS) +
             CountOf(config, wavefield::v1::SOURCE_KIND_VALIDATION_TOKENS) >
         0;
}

void FillDatasetDefaults(CreateDatasetConfig& config) {
  auto& options = *config.mutable_options();
  if (HasTokenFiles(config)) return;
  if (!options.has_tokenizer()) options.set_tokenizer("bpe");
  if (options.tokenizer() == "bytes") {
    options.clear_vocab_size();
  } else if (options.tokenizer() == "bpe" && !options.has_vocab_size()) {
    options.set_vocab_size(4096);
  }
  if (!options.has_field()) options.set_field("text");
}

std::string SourceHash(const CreateDatasetConfig& config) {
  CreateDatasetConfig hashed = config;
  hashed.clear_dataset_id();
  FillDatasetDefaults(hashed);
  return PayloadHash(hashed);
}

}  // namespace wavefield::coordinator
