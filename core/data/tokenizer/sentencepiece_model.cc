#include "core/data/tokenizer/sentencepiece_model.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstdlib>

#include "core/data/tokenizer/sentencepiece_proto.h"

namespace wavefield {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's own for a space

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const std::function<bool(std::string&)>& next) : next_(next) { Next(); }
  bool done() const override { return done_; }
  void Next() override { done_ = !next_(current_); }
  const std::string& value() const override { return current_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::function<bool(std::string&)>& next_;
  std::string current_;
  bool done_ = false;
};

std::string WithSpaces(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    const bool space = piece.substr(0, kSpaceMark.size()) == kSpaceMark;
    text += space ? ' ' : piece.front();
    piece.remove_prefix(space ? kSpaceMark.size() : 1);
  }
  return text;
}

}  // namespace

std::string TrainSentencePiece(const SentencePieceTraining& training,
                               std::string& serialized_model) {
  Sentences sentences(training.next_sentence);
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "bpe"},
       {"vocab_size", std::to_string(training.vocab_size)},
       {"hard_vocab_limit", "false"},
       {"byte_fallback", "true"},
       {"normalization_rule_name", "identity"},
       {"add_dummy_prefix", "false"},
       {"remove_extra_whitespaces", "false"},
       {"allow_whitespace_only_pieces", "true"},
       {"character_coverage", "1.0"},
       {"max_sentence_length", std::to_string(kMaxSentenceBytes)},
       {"unk_id", "0"},
       {"bos_id", "-1"},
       {"eos_id", "-1"},
       {"pad_id", "-1"},
       {"control_symbols", kSeparatorPiece},
       {"num_threads", "1"},
       {"minloglevel", "3"}},
      &sentences, &serialized_model);
  return status.ok() ? "" : status.ToString();
}

struct SentencePieceModel::Processor {
  sentencepiece::SentencePieceProcessor sentencepiece;
};

SentencePieceModel::SentencePieceModel() : processor_(std::make_unique<Processor>()) {}
SentencePieceModel::~SentencePieceModel() = default;

std::unique_ptr<SentencePieceModel> SentencePieceModel::Parse(std::string_view serialized_model,
                                                              std::string& error) {
  const auto plain_model = WithoutNormalization(serialized_model, error);
  if (!plain_model) return nullptr;
  std::unique_ptr<SentencePieceModel> model(new SentencePieceModel);
  auto& sentencepiece = model->processor_->sentencepiece;
  if (const auto status = sentencepiece.LoadFromSerializedProto(*plain_model); !status.ok()) {
    error = status.ToString();
    return nullptr;
  }
  int bytes = 0;
  for (int id = 0; id < sentencepiece.GetPieceSize(); ++id) {
    const std::string& text = sentencepiece.IdToPiece(id);
    if (sentencepiece.IsByte(id)) {
      const long byte = std::strtol(text.c_str() + 1, nullptr, 16);  // <0xHH>
      model->pieces_.push_back({Piece::kByte, std::string(1, static_cast<char>(byte))});
      model->byte_ids_[static_cast<size_t>(byte & 0xFF)] = id;
      ++bytes;
    } else if (sentencepiece.IsUnknown(id)) {
      model->unknown_id_ = id;
      model->pieces_.push_back({Piece::kNone, ""});
    } else if (sentencepiece.IsControl(id)) {
      model->pieces_.push_back({text == kSeparatorPiece ? Piece::kSeparator : Piece::kNone, ""});
    } else {
      model->pieces_.push_back({Piece::kText, WithSpaces(text)});
      const std::string& words = model->pieces_.back().bytes;
      const size_t word = words.find_first_not_of(' ');
      if (word != std::string::npos && words.find(' ', word) != std::string::npos) {
        model->spans_words_ = true;
      }
    }
  }
  if (bytes != 0 && bytes != 256) {
    error = "it has pieces for " + std::to_string(bytes) + " bytes instead of none or all 256";
    return nullptr;
  }
  model->AddMissingPieces();
  return model;
}

void SentencePieceModel::AddMissingPieces() {
  own_pieces_ = static_cast<int>(pieces_.size());
  bool has_bytes = false;
  bool has_separator = false;
  for (const Piece& piece : pieces_) {
    has_bytes = has_bytes || piece.kind == Piece::kByte;
    has_separator = has_separator || piece.kind == Piece::kSeparator;
  }
  for (size_t byte = 0; byte < 256 && !has_bytes; ++byte) {
    byte_ids_[byte] = static_cast<int32_t>(pieces_.size());
    pieces_.push_back({Piece::kByte, std::string(1, static_cast<char>(byte))});
  }
  if (has_separator) return;
  const int end = processor_->sentencepiece.eos_id();
  if (end >= 0 && end < own_pieces_ && pieces_[static_cast<size_t>(end)].kind == Piece::kNone) {
    pieces_[static_cast<size_t>(end)].kind = Piece::kSeparator;
  } else {
    pieces_.push_back({Piece::kSeparator, ""});
  }
}

std::string SentencePieceModel::Encode(std::string_view text, std::vector<int32_t>& ids) const {
  std::vector<int> known;
  if (const auto status = processor_->sentencepiece.Encode(text, &known); !status.ok()) {
    return status.ToString();
  }
  if (std::find(known.begin(), known.end(), unknown_id_) == known.end()) {
    ids.insert(ids.end(), known.begin(), known.end());
    return "";
  }
  std::vector<std::string> pieces;
  if (const auto status = processor_->sentencepiece.Encode(text, &pieces); !status.ok()) {
    return status.ToString();
  }
  for (const std::string& piece : pieces) {
    const auto id = static_cast<size_t>(processor_->sentencepiece.PieceToId(piece));
    if (pieces_[id].kind == Piece::kText) {
      ids.push_back(static_cast<int32_t>(id));
      continue;
    }
    for (const char byte : WithSpaces(piece)) {
      ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    }
  }
  return "";
}

}  // namespace wavefield
