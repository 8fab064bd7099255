#pragma once

#include <string>

namespace wavefield {

// How a SentencePiece model of somebody else's may differ from ours.
struct ForeignModelOptions {
  std::string type = "unigram";            // or "bpe"
  std::string normalization = "nmt_nfkc";  // or "identity"
  bool byte_fallback = false;
  bool spans_words = false;  // pieces with spaces inside
  std::string user_symbols;  // separated by commas
  bool self_test = false;    // carries its own test samples
  int vocab_size = 300;
};

// Trains one on `text`, line by line; it puts a space in front of every text.
std::string TrainForeignModel(const std::string& text, const ForeignModelOptions& options);

}  // namespace wavefield
