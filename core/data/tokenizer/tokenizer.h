#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/data/tokenizer_description.h"

namespace wavefield {

class SentencePieceModel;

// Remembers the ids of frequent words, so that they are looked up and not worked out again.
// Bounded. One per thread; for one tokenizer only.
class WordCache {
 public:
  const std::vector<int32_t>* Find(std::string_view word) const;
  void Insert(std::string_view word, std::span<const int32_t> ids);

 private:
  absl::flat_hash_map<std::string, std::vector<int32_t>> ids_;
};

// Text to token ids and back, without loss: Decode(Encode(x)) == x for all bytes x, and the bytes
// of the tokens' texts add up to the size of x. Immutable; thread-safe.
class Tokenizer {
 public:
  // From a directory (a dataset's or a checkpoint's) with tokenizer.json and, where there is a
  // model, tokenizer.model. NOT_FOUND where they are missing, DATA_LOSS where they are damaged,
  // FAILED_PRECONDITION for kind "ids", which has no tokenizer.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::filesystem::path& directory);
  // From a serialized SentencePiece model that TrainBpe made.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromModel(const std::string& model);
  // From one that was made elsewhere: kind "sentencepiece". `separator_id`: another than
  // SentencePieceModel chooses. DATA_LOSS for a damaged model, INVALID_ARGUMENT for a separator
  // that is not among its ids.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromForeignModel(
      const std::string& model, std::optional<int32_t> separator_id);
  // Reads the file of such a model; at most 64 MiB.
  static absl::StatusOr<std::string> ReadModelFile(const std::filesystem::path& path);
  // One id for each byte value, and the separator 256.
  static std::unique_ptr<Tokenizer> Bytes();
  ~Tokenizer();

  // Never yields the separator.
  std::vector<int32_t> Encode(std::string_view text) const;
  // Appends to `ids`.
  void Encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;

  // The bytes that the ids stand for; a prefix of the ids may end inside a character. The separator
  // and ids beyond the vocabulary (padding) stand for nothing.
  std::string Decode(std::span<const int32_t> ids) const;

  int32_t separator_id() const { return description_.separator_id; }
  int64_t vocab_size() const { return description_.vocab_size; }
  const TokenizerDescription& description() const { return description_; }
  const SentencePieceModel* model() const { return model_.get(); }  // null for kind "bytes"

 private:
  Tokenizer();
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Make(const std::string& model,
                                                         const std::string& kind,
                                                         std::optional<int32_t> separator_id);
  bool ReachesModel(std::string_view text, size_t& length) const;
  size_t WordBytes(std::string_view text) const;
  void EncodePlain(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;
  void EncodeBytes(std::string_view bytes, std::vector<int32_t>& ids) const;

  TokenizerDescription description_;
  std::unique_ptr<SentencePieceModel> model_;  // null for kind "bytes"
  std::vector<std::string> texts_;             // of every id
  std::array<int32_t, 256> byte_ids_{};
};

// Whether SentencePiece sees the character that `text` begins with: control characters, U+2581
// (which SentencePiece uses for a space) and invalid bytes are encoded byte by byte instead.
// `length` is set to the number of bytes that this holds for.
bool IsPlain(std::string_view text, size_t& length);

}  // namespace wavefield
