#include "core/data/tokenizer/prepare.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/data/tokenizer/bpe_training.h"
#include "core/data/tokenizer/segments.h"
#include "core/data/tokenizer/split_writer.h"
#include "core/data/tokenizer/tokenizer.h"

namespace wavefield {
namespace {

using ProgressFunction = std::function<void(const PrepareProgress&)>;

constexpr char kSpoolFile[] = "text";
constexpr uint64_t kRoundBytes = 4 << 20;  // of text that is encoded before it is written

int64_t TotalBytes(std::span<const Segment> segments) {
  int64_t total = 0;
  for (const Segment& segment : segments) total += segment.length;
  return total;
}

// Trains the tokenizer, or takes the one that is given, and writes its files.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(const PrepareOptions& options,
                                                         std::string_view text,
                                                         std::span<const Segment> segments,
                                                         const std::filesystem::path& directory,
                                                         std::vector<std::string>& messages) {
  std::unique_ptr<Tokenizer> tokenizer;
  if (options.tokenizer == "bpe") {
    WF_ASSIGN_OR_RETURN(const auto model, TrainBpe(text, segments, options.vocab_size));
    if (model) {
      WF_ASSIGN_OR_RETURN(tokenizer, Tokenizer::FromModel(*model));
      WF_RETURN_IF_ERROR(WriteFileAtomically(directory / kTokenizerModelFile, *model));
      if (tokenizer->vocab_size() < options.vocab_size) {
        messages.push_back(absl::StrCat("the text supports a vocabulary of ",
                                        tokenizer->vocab_size(), ", not the ", options.vocab_size,
                                        " asked for"));
      }
    } else {
      messages.push_back("the text has no characters to learn from: bytes are the tokens");
    }
  }
  if (options.tokenizer == "sentencepiece") {
    WF_ASSIGN_OR_RETURN(const std::string model, Tokenizer::ReadModelFile(options.model_file));
    auto made = Tokenizer::FromForeignModel(model, std::nullopt);
    if (!made.ok()) {
      return absl::Status(made.status().code(),
                          absl::StrCat(options.model_file.string(), ": ", made.status().message()));
    }
    tokenizer = *std::move(made);
    WF_RETURN_IF_ERROR(WriteFileAtomically(directory / kTokenizerModelFile, model));
  }
  if (tokenizer == nullptr) tokenizer = Tokenizer::Bytes();
  WF_RETURN_IF_ERROR(
      WriteFileAtomically(directory / kTokenizerFile, tokenizer->description().ToJson()));
  return tokenizer;
}

// Encodes on several threads, keeping a cache of words for each.
class ParallelEncoder {
 public:
  ParallelEncoder(const Tokenizer& tokenizer, std::string_view text, int threads)
      : tokenizer_(tokenizer), text_(text), caches_(static_cast<size_t>(threads)) {}

  // The ids of each segment.
  std::vector<std::vector<int32_t>> Encode(std::span<const Segment> segments) {
    std::vector<std::vector<int32_t>> ids(segments.size());
    std::atomic<size_t> next{0};
    const auto work = [&](WordCache& cache) {
      for (size_t i; (i = next.fetch_add(1)) < segments.size();) {
        tokenizer_.Encode(text_.substr(segments[i].offset, segments[i].length), cache, ids[i]);
      }
    };
    std::vector<std::jthread> others;
    for (size_t i = 1; i < std::min(caches_.size(), segments.size()); ++i) {
      others.emplace_back(work, std::ref(caches_[i]));
    }
    work(caches_[0]);
    others.clear();  // joins
    return ids;
  }

 private:
  const Tokenizer& tokenizer_;
  const std::string_view text_;
  std::vector<WordCache> caches_;
};

absl::Status EncodeSplits(const PrepareOptions& options, const Tokenizer& tokenizer,
                          std::string_view text, std::span<const Segment> segments,
                          const std::filesystem::path& directory, const ProgressFunction& progress,
                          DatasetManifest& manifest) {
  const auto writer = [&](const char* name) {
    return SplitWriter(directory, name, tokenizer.vocab_size(), tokenizer.separator_id(),
                       options.shard_tokens);
  };
  SplitWriter train = writer("train");
  SplitWriter validation = writer("validation");
  ParallelEncoder encoder(tokenizer, text, options.threads);
  const int64_t total = TotalBytes(segments);
  int64_t done = 0;
  progress({"encode", 0, total});
  for (size_t begin = 0; begin < segments.size();) {
    size_t end = begin;
    for (uint64_t bytes = 0; end < segments.size() && bytes < kRoundBytes; ++end) {
      bytes += segments[end].length;
    }
    auto ids = encoder.Encode(segments.subspan(begin, end - begin));
    for (size_t i = begin; i < end; ++i) {
      const Segment& segment = segments[i];
      // Text that goes on in the other split ends here for this one.
      const bool ends = segment.ends_document || segments[i + 1].validation != segment.validation;
      if (ends) ids[i - begin].push_back(tokenizer.separator_id());
      SplitWriter& split = segment.validation ? validation : train;
      WF_RETURN_IF_ERROR(split.Append(ids[i - begin], segment.length, ends));
      done += segment.length;
    }
    progress({"encode", done, total});
    begin = end;
  }
  WF_ASSIGN_OR_RETURN(manifest.train, train.Finish());
  WF_ASSIGN_OR_RETURN(manifest.validation, validation.Finish());
  return absl::OkStatus();
}

void AddMessages(const Corpus& corpus, const DatasetManifest& manifest,
                 std::vector<std::string>& messages) {
  for (const SourceManifest& source : corpus.sources) {
    if (source.invalid_utf8 == 0) continue;
    messages.push_back(absl::StrCat(source.path, ": ", source.invalid_utf8,
                                    " sequences are not UTF-8, the first at byte ",
                                    *source.first_invalid_offset, "; replaced by U+FFFD"));
  }
  if (!corpus.ignored.empty()) {
    messages.push_back(absl::StrCat(corpus.ignored.size(),
                                    " files without a known extension were ignored, such as ",
                                    corpus.ignored.front()));
  }
  if (manifest.validation.shards.empty()) {
    messages.push_back("there is no validation split: the text is too small, or none was wanted");
  }
}

}  // namespace

absl::StatusOr<PrepareResult> Prepare(const PrepareOptions& options, StagedFolder& staging,
                                      const ProgressFunction& progress) {
  PrepareResult result;
  const auto spool = staging.contents() / kSpoolFile;
  WF_ASSIGN_OR_RETURN(Corpus corpus,
                      ReadCorpus(options.corpus, spool, [&](int64_t done, int64_t total) {
                        progress({"read", done, total});
                      }));
  const std::string_view text = corpus.text.bytes();
  const uint32_t segment_bytes = SegmentBytes(text.size());
  const double fraction =
      options.validation_fraction.value_or(DefaultValidationFraction(text.size()));
  std::vector<Segment> segments = CutIntoSegments(text, corpus.documents, segment_bytes);
  ChooseValidation(segments, fraction);

  const int64_t total = TotalBytes(segments);
  progress({"train", 0, total});
  WF_ASSIGN_OR_RETURN(const auto tokenizer,
                      MakeTokenizer(options, text, segments, staging.contents(), result.messages));
  progress({"train", total, total});

  DatasetManifest& manifest = result.manifest;
  WF_RETURN_IF_ERROR(
      EncodeSplits(options, *tokenizer, text, segments, staging.contents(), progress, manifest));
  const TokenizerDescription& description = tokenizer->description();
  manifest.name = options.name;
  manifest.tokenizer = {.kind = description.kind,
                        .vocab_size = description.vocab_size,
                        .requested_vocab_size = options.tokenizer == "bpe" ? options.vocab_size
                                                                           : description.vocab_size,
                        .separator_id = description.separator_id,
                        .sha256 = Sha256Hex(description.ToJson()),
                        .model_sha256 = description.model_sha256};
  manifest.options = {{"field", options.corpus.field},
                      {"document_separator", options.corpus.separator},
                      {"validation_fraction", fraction},
                      {"segment_bytes", segment_bytes},
                      {"shard_tokens", options.shard_tokens}};
  AddMessages(corpus, manifest, result.messages);
  manifest.sources = std::move(corpus.sources);
  result.ignored = std::move(corpus.ignored);
  result.content_hash = manifest.ContentHash();

  std::error_code ignored;
  std::filesystem::remove(spool, ignored);
  WF_RETURN_IF_ERROR(
      WriteFileAtomically(staging.contents() / kDatasetManifestFile, manifest.ToJson()));
  WF_RETURN_IF_ERROR(staging.Publish());
  return result;
}

}  // namespace wavefield
