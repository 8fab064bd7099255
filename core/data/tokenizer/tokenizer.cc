#include "core/data/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/data/token_shard.h"
#include "core/data/tokenizer/sentencepiece_model.h"
#include "core/data/tokenizer/utf8.h"

namespace wavefield {
namespace {

constexpr size_t kMaxCachedWords = 1 << 18;
constexpr size_t kMaxCachedWordBytes = 64;
constexpr size_t kMaxWordBytes = 1
                                 << 14;  // longer ones are cut, which bounds SentencePiece's memory
constexpr uint64_t kMaxModelBytes = uint64_t{64} << 20;

}  // namespace

bool IsPlain(std::string_view text, size_t& length) {
  const auto first = static_cast<unsigned char>(text.front());
  length = 1;
  if (first < 0x80) return first >= 0x20 && first != 0x7F;
  const Utf8Step step = DecodeUtf8(text);
  length = static_cast<size_t>(step.length);
  return step.kind == Utf8Step::kCharacter && text.substr(0, length) != "\xE2\x96\x81";
}

const std::vector<int32_t>* WordCache::Find(std::string_view word) const {
  const auto found = ids_.find(absl::string_view(word.data(), word.size()));
  return found == ids_.end() ? nullptr : &found->second;
}

void WordCache::Insert(std::string_view word, std::span<const int32_t> ids) {
  if (ids_.size() >= kMaxCachedWords || word.size() > kMaxCachedWordBytes) return;
  ids_.emplace(word, std::vector<int32_t>(ids.begin(), ids.end()));
}

// As IsPlain(); but the pieces of models from elsewhere may hold control characters, such as line
// breaks.
bool Tokenizer::ReachesModel(std::string_view text, size_t& length) const {
  if (IsPlain(text, length)) return true;
  const auto first = static_cast<unsigned char>(text.front());
  return description_.kind == "sentencepiece" && first != 0 && first < 0x80;
}

// The size of the first word: spaces and then others, unless a piece has a space after another
// character. Cut between characters where it is too long.
size_t Tokenizer::WordBytes(std::string_view text) const {
  const size_t spaces = std::min(text.find_first_not_of(' '), text.size());
  size_t end = model_->spans_words() ? text.size() : std::min(text.find(' ', spaces), text.size());
  if (end > kMaxWordBytes) {
    end = kMaxWordBytes;
    while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  }
  return end;
}

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& directory) {
  WF_ASSIGN_OR_RETURN(const TokenizerDescription description,
                      TokenizerDescription::Load(directory));
  std::unique_ptr<Tokenizer> tokenizer;
  if (description.kind == "bytes") {
    tokenizer = Bytes();
  } else if (!description.has_model()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the tokens of ", directory.string(),
                     " came without a tokenizer: their text can be neither made nor read; import "
                     "them with a SentencePiece model for that"));
  } else {
    const auto path = directory / kTokenizerModelFile;
    WF_ASSIGN_OR_RETURN(const std::string model, ReadModelFile(path));
    if (Sha256Hex(model) != description.model_sha256) {
      return absl::DataLossError(absl::StrCat(path.string(), " does not match its SHA-256 in ",
                                              kTokenizerFile, ": it changed or was replaced"));
    }
    WF_ASSIGN_OR_RETURN(tokenizer, Make(model, description.kind, description.separator_id));
  }
  if (tokenizer->separator_id() != description.separator_id ||
      tokenizer->description().token_bytes != description.token_bytes) {
    return absl::DataLossError(absl::StrCat((directory / kTokenizerFile).string(),
                                            " does not describe the tokenizer beside it"));
  }
  return tokenizer;
}

absl::StatusOr<std::string> Tokenizer::ReadModelFile(const std::filesystem::path& path) {
  return ReadFile(path, kMaxModelBytes);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromModel(const std::string& model) {
  return Make(model, "bpe", std::nullopt);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromForeignModel(
    const std::string& model, std::optional<int32_t> separator_id) {
  return Make(model, "sentencepiece", separator_id);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Make(const std::string& model,
                                                           const std::string& kind,
                                                           std::optional<int32_t> separator_id) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  std::string error;
  tokenizer->model_ = SentencePieceModel::Parse(model, error);
  if (tokenizer->model_ == nullptr) {
    return absl::DataLossError(absl::StrCat("the SentencePiece model cannot be used: ", error));
  }
  const auto& pieces = tokenizer->model_->pieces();
  if (pieces.size() > static_cast<size_t>(kMaxVocabSize)) {
    return absl::DataLossError(absl::StrCat("the SentencePiece model has ", pieces.size(),
                                            " pieces; at most ", kMaxVocabSize, " are allowed"));
  }
  TokenizerDescription& description = tokenizer->description_;
  if (separator_id &&
      (*separator_id < 0 || static_cast<size_t>(*separator_id) >= pieces.size() ||
       pieces[static_cast<size_t>(*separator_id)].kind == SentencePieceModel::Piece::kByte)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the separator's id is ", *separator_id, "; allowed: 0 to ", pieces.size() - 1,
                     " of the SentencePiece model, but for those of bytes"));
  }
  description.kind = kind;
  description.vocab_size = static_cast<int64_t>(pieces.size());
  description.model_sha256 = Sha256Hex(model);
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& piece = pieces[id];
    if (piece.bytes.size() > 255) {
      return absl::DataLossError(
          absl::StrCat("piece ", id, " of the SentencePiece model is longer than 255 bytes"));
    }
    if (piece.kind == SentencePieceModel::Piece::kByte) {
      tokenizer->byte_ids_[static_cast<unsigned char>(piece.bytes[0])] = static_cast<int32_t>(id);
    } else if (piece.kind == SentencePieceModel::Piece::kSeparator && !separator_id) {
      description.separator_id = static_cast<int32_t>(id);
    }
    description.token_bytes.push_back(static_cast<uint8_t>(piece.bytes.size()));
    tokenizer->texts_.push_back(piece.bytes);
  }
  if (separator_id) {
    description.separator_id = *separator_id;
    description.token_bytes[static_cast<size_t>(*separator_id)] = 0;
    tokenizer->texts_[static_cast<size_t>(*separator_id)].clear();
  }
  return tokenizer;
}

std::unique_ptr<Tokenizer> Tokenizer::Bytes() {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  tokenizer->description_.kind = "bytes";
  tokenizer->description_.vocab_size = 257;
  tokenizer->description_.separator_id = 256;
  tokenizer->description_.token_bytes.assign(256, 1);
  tokenizer->description_.token_bytes.push_back(0);
  for (int byte = 0; byte < 256; ++byte) {
    tokenizer->byte_ids_[static_cast<size_t>(byte)] = byte;
    tokenizer->texts_.emplace_back(1, static_cast<char>(byte));
  }
  tokenizer->texts_.emplace_back();
  return tokenizer;
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  WordCache cache;
  Encode(text, cache, ids);
  return ids;
}

void Tokenizer::Encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const {
  if (model_ == nullptr) return EncodeBytes(text, ids);
  while (!text.empty()) {
    size_t plain = 0;
    size_t length = 0;
    while (plain < text.size() && ReachesModel(text.substr(plain), length)) plain += length;
    EncodePlain(text.substr(0, plain), cache, ids);
    text.remove_prefix(plain);
    if (text.empty()) return;
    EncodeBytes(text.substr(0, length), ids);
    text.remove_prefix(length);
  }
}

void Tokenizer::EncodePlain(std::string_view text, WordCache& cache,
                            std::vector<int32_t>& ids) const {
  while (!text.empty()) {
    const std::string_view word = text.substr(0, WordBytes(text));
    text.remove_prefix(word.size());
    if (const auto* known = cache.Find(word)) {
      ids.insert(ids.end(), known->begin(), known->end());
      continue;
    }
    const size_t before = ids.size();
    const std::string error = model_->Encode(word, ids);
    WF_CHECK_MSG(error.empty(), error);
    cache.Insert(word, std::span(ids).subspan(before));
  }
}

void Tokenizer::EncodeBytes(std::string_view bytes, std::vector<int32_t>& ids) const {
  for (const char byte : bytes) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
}

std::string Tokenizer::Decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id >= 0 && static_cast<size_t>(id) < texts_.size()) text += texts_[static_cast<size_t>(id)];
  }
  return text;
}

}  // namespace wavefield
