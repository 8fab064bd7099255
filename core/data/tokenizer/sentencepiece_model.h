#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace wavefield {

// SentencePiece behind a wall: its headers clash with Abseil's, so neither this header nor its
// source file includes any of Abseil's, and errors are texts. A program that links this must not
// link libprotobuf: Debian's libsentencepiece carries another version of it.

inline constexpr char kSeparatorPiece[] = "<|endoftext|>";
// The pieces that every model of TrainSentencePiece has: unknown, separator, 256 bytes.
inline constexpr int kReservedPieces = 258;

struct SentencePieceTraining {
  int64_t vocab_size = 0;  // the model may have fewer, where the text supports no more
  // Sets its argument to the next sentence; false at the end. A sentence holds no control
  // characters and no U+2581, and at most kMaxSentenceBytes.
  std::function<bool(std::string&)> next_sentence;
};
inline constexpr int64_t kMaxSentenceBytes = 1 << 17;

// Trains a byte-pair model that keeps every character as it is. Returns the error, or an empty
// text. The result depends on the sentences and the size alone.
std::string TrainSentencePiece(const SentencePieceTraining& training,
                               std::string& serialized_model);

// A trained model, ours or another's, made lossless: it takes the text as it is, without the
// model's own normalisation; what a model without byte pieces does not know is spelled in bytes, by
// 256 ids that follow its own; and where it has neither the control symbol kSeparatorPiece nor an
// end of sentence, the last id of all is the separator. Immutable; thread-safe.
class SentencePieceModel {
 public:
  struct Piece {
    enum Kind { kText, kByte, kSeparator, kNone };
    Kind kind;
    std::string bytes;  // the text that the piece stands for; a separator's is empty
  };

  // Null, and `error` set, where the model is damaged.
  static std::unique_ptr<SentencePieceModel> Parse(std::string_view serialized_model,
                                                   std::string& error);
  ~SentencePieceModel();

  // One of each kind kByte for every byte, one kSeparator.
  const std::vector<Piece>& pieces() const { return pieces_; }
  int own_pieces() const { return own_pieces_; }  // before those that were added
  // −1: none. Tokens that others made with the model may have it; Encode() never yields it.
  int unknown_id() const { return unknown_id_; }
  // Whether a piece has a space after another character, so that words depend on their neighbours.
  bool spans_words() const { return spans_words_; }
  // Appends the ids of `text`. REQUIRES: valid UTF-8 without NUL and U+2581, and for a model of
  // TrainSentencePiece without any control characters. Returns the error, or an empty text.
  std::string Encode(std::string_view text, std::vector<int32_t>& ids) const;

 private:
  struct Processor;
  SentencePieceModel();
  void AddMissingPieces();

  std::unique_ptr<Processor> processor_;
  std::vector<Piece> pieces_;
  std::array<int32_t, 256> byte_ids_{};
  int own_pieces_ = 0;
  int unknown_id_ = -1;
  bool spans_words_ = false;
};

}  // namespace wavefield
