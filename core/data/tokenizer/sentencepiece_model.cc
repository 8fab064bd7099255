#include "core/data/tokenizer/sentencepiece_model.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>

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
  std::unique_ptr<SentencePieceModel> model(new SentencePieceModel);
  auto& sentencepiece = model->processor_->sentencepiece;
  if (const auto status = sentencepiece.LoadFromSerializedProto(serialized_model); !status.ok()) {
    error = status.ToString();
    return nullptr;
  }
  int bytes = 0;
  for (int id = 0; id < sentencepiece.GetPieceSize(); ++id) {
    const std::string& text = sentencepiece.IdToPiece(id);
    if (sentencepiece.IsByte(id)) {
      const char byte = static_cast<char>(std::strtol(text.c_str() + 1, nullptr, 16));  // <0xHH>
      model->pieces_.push_back({Piece::kByte, std::string(1, byte)});
      ++bytes;
    } else if (sentencepiece.IsUnknown(id)) {
      model->pieces_.push_back({Piece::kNone, ""});
    } else if (sentencepiece.IsControl(id)) {
      model->pieces_.push_back({text == kSeparatorPiece ? Piece::kSeparator : Piece::kNone, ""});
    } else {
      model->pieces_.push_back({Piece::kText, WithSpaces(text)});
    }
  }
  if (bytes != 256) {
    error = "it has no byte fallback";
    return nullptr;
  }
  return model;
}

std::string SentencePieceModel::Encode(std::string_view text, std::vector<int32_t>& ids) const {
  std::vector<int> pieces;
  const auto status = processor_->sentencepiece.Encode(text, &pieces);
  if (!status.ok()) return status.ToString();
  ids.insert(ids.end(), pieces.begin(), pieces.end());
  return "";
}

}  // namespace wavefield
