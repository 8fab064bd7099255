#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/tokenizer/segments.h"

namespace wavefield {

inline constexpr int64_t kMinBpeVocabSize = 260;
inline constexpr int64_t kMaxBpeVocabSize = int64_t{1} << 18;

// Trains a SentencePiece BPE model on a sample of the training segments: 1 KiB of text per piece, 4
// to 16 MiB, chosen by a hash of their position. The most frequent characters become pieces of
// their own (99.95 % of the text's, and at most half of the vocabulary); others are spelled in
// bytes. The vocabulary is smaller than asked where the text supports no more: one piece for each
// 64 bytes, beside bytes and characters. No value where there is nothing to train on, such as text
// of line breaks alone. REQUIRES: kMinBpeVocabSize <= vocab_size <= kMaxBpeVocabSize.
absl::StatusOr<std::optional<std::string>> TrainBpe(std::string_view text,
                                                    std::span<const Segment> segments,
                                                    int64_t vocab_size);

}  // namespace wavefield
