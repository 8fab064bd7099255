#include "core/data/tokenizer/import.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/data/tokenizer/segments.h"
#include "core/data/tokenizer/sentencepiece_model.h"
#include "core/data/tokenizer/split_writer.h"
#include "core/data/tokenizer/tokenizer.h"

namespace wavefield {
namespace {

using ProgressFunction = std::function<void(const PrepareProgress&)>;

constexpr uint64_t kMaxTableBytes = uint64_t{16} << 20;
constexpr int64_t kCheckedTokens = int64_t{1} << 20;  // between two reports of progress
// Segments, in tokens: the counterparts of SegmentBytes() at four bytes a token.
constexpr int64_t kMinSegmentTokens = 256;
constexpr int64_t kMaxSegmentTokens = 16'384;
constexpr uint64_t kTypicalTokenBytes = 4;

// What is known of the ids, beside the files that hold them.
struct Vocabulary {
  TokenizerDescription description;
  int64_t limit = 0;        // imported ids are below it; a model's added ids are not among them
  int64_t unknown_id = -1;  // stands for text whose bytes are not known; −1: there is none
  std::string model;
};

absl::StatusOr<std::vector<uint8_t>> ReadTokenBytes(const std::filesystem::path& path,
                                                    int64_t vocab_size) {
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTableBytes));
  const auto bad = [&](const std::string& reason) {
    return absl::InvalidArgumentError(
        absl::StrCat("bytes per token in ", path.string(), ": ", reason));
  };
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array()) return bad("not a JSON list, such as [0, 3, 4]");
  if (static_cast<int64_t>(json.size()) != vocab_size) {
    return bad(
        absl::StrCat("the list has ", json.size(), " entries for a vocabulary of ", vocab_size));
  }
  std::vector<uint8_t> bytes;
  for (const auto& entry : json) {
    if (!entry.is_number_integer() || entry < 0 || entry > 255) {
      return bad(absl::StrCat("entry ", bytes.size(), " is ", entry.dump().substr(0, 40),
                              "; allowed: whole numbers from 0 to 255"));
    }
    bytes.push_back(entry.get<uint8_t>());
  }
  return bytes;
}

absl::StatusOr<Vocabulary> OfModel(const ImportOptions& options) {
  Vocabulary vocabulary;
  WF_ASSIGN_OR_RETURN(vocabulary.model, Tokenizer::ReadModelFile(options.model_file));
  auto tokenizer = Tokenizer::FromForeignModel(vocabulary.model, options.separator_id);
  if (!tokenizer.ok()) {
    return absl::Status(tokenizer.status().code(), absl::StrCat(options.model_file.string(), ": ",
                                                                tokenizer.status().message()));
  }
  const SentencePieceModel& model = *(*tokenizer)->model();
  vocabulary.limit = model.own_pieces();
  vocabulary.unknown_id = model.unknown_id();
  if (options.vocab_size && *options.vocab_size != vocabulary.limit) {
    return absl::InvalidArgumentError(absl::StrCat("the vocabulary size ", *options.vocab_size,
                                                   " is not that of ", options.model_file.string(),
                                                   ", ", vocabulary.limit, "; leave it out"));
  }
  vocabulary.description = (*tokenizer)->description();
  if (vocabulary.unknown_id == vocabulary.description.separator_id) vocabulary.unknown_id = -1;
  return vocabulary;
}

absl::StatusOr<Vocabulary> MakeVocabulary(const ImportOptions& options) {
  if (!options.model_file.empty()) return OfModel(options);
  if (!options.vocab_size) {
    return absl::InvalidArgumentError("without a SentencePiece model, a vocabulary size is needed");
  }
  Vocabulary vocabulary;
  vocabulary.limit = *options.vocab_size;
  TokenizerDescription& description = vocabulary.description;
  description.kind = "ids";
  description.vocab_size = *options.vocab_size;
  description.separator_id = options.separator_id.value_or(kNoSeparator);
  if (description.separator_id < kNoSeparator || description.separator_id >= vocabulary.limit) {
    return absl::InvalidArgumentError(absl::StrCat("the separator's id is ",
                                                   description.separator_id, " in a vocabulary of ",
                                                   vocabulary.limit));
  }
  if (!options.token_bytes_file.empty()) {
    WF_ASSIGN_OR_RETURN(description.token_bytes,
                        ReadTokenBytes(options.token_bytes_file, description.vocab_size));
    if (description.separator_id != kNoSeparator) {
      description.token_bytes[static_cast<size_t>(description.separator_id)] = 0;
    }
  }
  return vocabulary;
}

absl::StatusOr<std::vector<TokenFile>> OpenFiles(const std::vector<std::filesystem::path>& paths,
                                                 const TokenFileFormat& format) {
  std::vector<TokenFile> files;
  for (const auto& path : paths) {
    WF_ASSIGN_OR_RETURN(TokenFile file, TokenFile::Open(path, format));
    files.push_back(std::move(file));
  }
  return files;
}

int64_t TotalTokens(std::span<const TokenFile> files) {
  int64_t total = 0;
  for (const TokenFile& file : files) total += file.tokens();
  return total;
}

// A file, its ids checked.
struct CheckedFile {
  const TokenFile* file;
  SourceManifest source;
  int64_t unknown = 0;  // tokens that stand for text of unknown size
};

// Checks every id of `file` and cuts it after each separator, and where a segment grows too long;
// the segments are appended to `segments`: in tokens, their offsets from the first file's first,
// where `file` begins at `first_token`.
absl::StatusOr<CheckedFile> CheckAndCut(const TokenFile& file, const Vocabulary& vocabulary,
                                        int64_t segment_tokens, int64_t first_token,
                                        std::vector<Segment>& segments,
                                        const std::function<void(int64_t)>& progress) {
  CheckedFile checked = {.file = &file, .source = {}};
  const TokenizerDescription& description = vocabulary.description;
  checked.source.path = file.path().filename().string();
  checked.source.bytes = static_cast<int64_t>(file.bytes().size());
  checked.source.sha256 = Sha256Hex(file.bytes());
  int64_t begin = 0;
  bool in_document = false;  // a token other than the separator, since the last separator
  const auto cut = [&](int64_t end, bool ends_document) {
    segments.push_back({.offset = static_cast<uint64_t>(first_token + begin),
                        .length = static_cast<uint32_t>(end - begin),
                        .ends_document = ends_document});
    checked.source.documents += ends_document ? 1 : 0;
    begin = end;
  };
  for (int64_t i = 0; i < file.tokens(); ++i) {
    if (i % kCheckedTokens == 0) progress(i);
    const uint32_t id = file.id(i);
    if (id >= vocabulary.limit) {
      return absl::InvalidArgumentError(
          absl::StrCat("token file ", file.path().string(), ", byte ", file.ByteOffset(i),
                       ": token ", i, " is ", id, ", but the vocabulary has ", vocabulary.limit,
                       " ids; give the right vocabulary size and type of ids"));
    }
    const bool separates = static_cast<int32_t>(id) == description.separator_id;
    checked.unknown += id == vocabulary.unknown_id ? 1 : 0;
    if (!description.token_bytes.empty()) checked.source.text_bytes += description.token_bytes[id];
    // A separator before any text belongs to the document that it begins.
    const bool ends_document = separates && in_document;
    const bool last = i + 1 == file.tokens();
    if (last || ends_document || i + 1 - begin >= segment_tokens) cut(i + 1, separates);
    in_document = !separates;
  }
  if (description.separator_id == kNoSeparator) return checked;
  checked.source.documents += in_document ? 1 : 0;  // the last one, which the file's end ends
  return checked;
}

// Gives tokens to the splits.
class Writer {
 public:
  Writer(const TokenizerDescription& description, const std::filesystem::path& directory,
         int64_t shard_tokens)
      : description_(description),
        train_(directory, "train", description.vocab_size, description.separator_id, shard_tokens),
        validation_(directory, "validation", description.vocab_size, description.separator_id,
                    shard_tokens) {}

  // `first_token`: where the file begins, in the segment's counting.
  absl::Status Add(const TokenFile& file, int64_t first_token, const Segment& segment) {
    ids_.clear();
    uint32_t text_bytes = 0;
    const int64_t begin = static_cast<int64_t>(segment.offset) - first_token;
    for (int64_t i = begin; i < begin + segment.length; ++i) {
      const uint32_t id = file.id(i);
      ids_.push_back(static_cast<int32_t>(id));
      if (!description_.token_bytes.empty()) text_bytes += description_.token_bytes[id];
    }
    SplitWriter& split = segment.validation ? validation_ : train_;
    return split.Append(ids_, text_bytes, segment.ends_document);
  }
  absl::Status Finish(DatasetManifest& manifest) {
    WF_ASSIGN_OR_RETURN(manifest.train, train_.Finish());
    WF_ASSIGN_OR_RETURN(manifest.validation, validation_.Finish());
    return absl::OkStatus();
  }

 private:
  const TokenizerDescription& description_;
  SplitWriter train_;
  SplitWriter validation_;
  std::vector<int32_t> ids_;
};

void AddMessages(const Vocabulary& vocabulary, int64_t unknown, int64_t tokens,
                 PrepareResult& result) {
  if (vocabulary.description.token_bytes.empty()) {
    result.messages.push_back(
        "the bytes of text that the tokens stand for are not known, and so neither are bits per "
        "byte; a SentencePiece model or a table of bytes per token would tell");
  }
  if (unknown > 0) {
    result.messages.push_back(
        absl::StrCat(unknown, " of ", tokens,
                     " tokens are the model's unknown piece: their text "
                     "is lost and counts no bytes, so that bits per byte are a little too high"));
  }
  if (vocabulary.description.separator_id == kNoSeparator) {
    result.messages.push_back("no separator was given: documents are not told apart");
  }
  if (result.manifest.validation.shards.empty()) {
    result.messages.push_back(
        "there is no validation split: there are too few tokens, or none "
        "was wanted");
  }
}

}  // namespace

absl::StatusOr<PrepareResult> Import(const ImportOptions& options, StagedFolder& staging,
                                     const ProgressFunction& progress) {
  WF_ASSIGN_OR_RETURN(const Vocabulary vocabulary, MakeVocabulary(options));
  const TokenizerDescription& description = vocabulary.description;
  WF_ASSIGN_OR_RETURN(const auto train, OpenFiles(options.train, options.format));
  WF_ASSIGN_OR_RETURN(const auto validation, OpenFiles(options.validation, options.format));
  const int64_t train_tokens = TotalTokens(train);
  const int64_t total = train_tokens + TotalTokens(validation);
  const int64_t segment_tokens =
      std::clamp(train_tokens / 400, kMinSegmentTokens, kMaxSegmentTokens);

  // Pass 1: check everything before anything is written, and find where to cut.
  std::vector<Segment> segments;
  std::vector<CheckedFile> files;
  std::vector<int64_t> file_begins;
  int64_t done = 0;
  int64_t unknown = 0;
  size_t train_segments = 0;
  for (const auto* split : {&train, &validation}) {
    for (const TokenFile& file : *split) {
      WF_ASSIGN_OR_RETURN(
          CheckedFile checked,
          CheckAndCut(file, vocabulary, segment_tokens, done, segments, [&](int64_t in_file) {
            progress({"check", done + in_file, total});
          }));
      file_begins.push_back(done);
      done += file.tokens();
      unknown += checked.unknown;
      files.push_back(std::move(checked));
    }
    if (split == &train) train_segments = segments.size();
  }
  progress({"check", total, total});

  double fraction = 0;
  if (validation.empty()) {
    fraction = options.validation_fraction.value_or(
        DefaultValidationFraction(static_cast<uint64_t>(train_tokens) * kTypicalTokenBytes));
    ChooseValidation(segments, fraction);
  }
  for (size_t i = train_segments; i < segments.size(); ++i) segments[i].validation = true;

  // Pass 2: write.
  WF_RETURN_IF_ERROR(
      WriteFileAtomically(staging.contents() / kTokenizerFile, description.ToJson()));
  if (!vocabulary.model.empty()) {
    WF_RETURN_IF_ERROR(
        WriteFileAtomically(staging.contents() / kTokenizerModelFile, vocabulary.model));
  }
  PrepareResult result;
  DatasetManifest& manifest = result.manifest;
  Writer writer(description, staging.contents(), options.shard_tokens);
  size_t file = 0;
  for (const Segment& segment : segments) {
    const auto offset = static_cast<int64_t>(segment.offset);
    while (offset >= file_begins[file] + files[file].file->tokens()) ++file;
    WF_RETURN_IF_ERROR(writer.Add(*files[file].file, file_begins[file], segment));
    progress({"write", offset + segment.length, total});
  }
  WF_RETURN_IF_ERROR(writer.Finish(manifest));

  manifest.name = options.name;
  manifest.tokenizer = {.kind = description.kind,
                        .vocab_size = description.vocab_size,
                        .requested_vocab_size = description.vocab_size,
                        .separator_id = description.separator_id,
                        .sha256 = Sha256Hex(description.ToJson()),
                        .model_sha256 = description.model_sha256};
  manifest.options = {{"imported", true},
                      {"validation_files", validation.size()},
                      {"validation_fraction", fraction},
                      {"segment_tokens", segment_tokens},
                      {"shard_tokens", options.shard_tokens}};
  for (CheckedFile& checked : files) manifest.sources.push_back(std::move(checked.source));
  AddMessages(vocabulary, unknown, total, result);
  result.content_hash = manifest.ContentHash();
  WF_RETURN_IF_ERROR(
      WriteFileAtomically(staging.contents() / kDatasetManifestFile, manifest.ToJson()));
  WF_RETURN_IF_ERROR(staging.Publish());
  return result;
}

}  // namespace wavefield
