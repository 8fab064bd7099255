#include "core/data/tokenizer/bpe_training.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/rng.h"
#include "core/data/tokenizer/sentencepiece_model.h"
#include "core/data/tokenizer/tokenizer.h"
#include "core/data/tokenizer/utf8.h"

namespace wavefield {
namespace {

constexpr double kCharacterCoverage = 0.9995;
constexpr int64_t kBytesPerPiece =
    64;  // of training text; a rarer piece is not worth its parameters

std::vector<std::string_view> Sample(std::string_view text, std::span<const Segment> segments,
                                     double share) {
  const RandomStream hash(0, "tokenizer sample");
  std::vector<std::string_view> sample;
  for (const Segment& segment : segments) {
    if (segment.validation || hash.Uniform(segment.offset) >= share) continue;
    sample.push_back(text.substr(segment.offset, segment.length));
  }
  return sample;
}

// The characters, other than the space, that get a piece of their own.
absl::flat_hash_set<uint32_t> ChooseAlphabet(std::span<const std::string_view> sample,
                                             size_t limit) {
  absl::flat_hash_map<uint32_t, int64_t> counts;
  int64_t total = 0;
  for (std::string_view text : sample) {
    size_t length = 0;
    for (; !text.empty(); text.remove_prefix(length)) {
      if (!IsPlain(text, length) || text.front() == ' ') continue;
      ++counts[CodePoint(text.substr(0, length))];
      ++total;
    }
  }
  std::vector<std::pair<int64_t, uint32_t>> ranked;  // most frequent first, then by code point
  for (const auto& [character, count] : counts) ranked.emplace_back(-count, character);
  std::sort(ranked.begin(), ranked.end());
  absl::flat_hash_set<uint32_t> alphabet;
  int64_t covered = 0;
  for (const auto& [negative_count, character] : ranked) {
    const double coverage = static_cast<double>(covered) / static_cast<double>(total);
    if (alphabet.size() == limit || coverage >= kCharacterCoverage) break;
    alphabet.insert(character);
    covered -= negative_count;
  }
  return alphabet;
}

// Yields the runs of the sample that consist of spaces and characters of the alphabet.
class SentenceReader {
 public:
  SentenceReader(std::span<const std::string_view> sample,
                 const absl::flat_hash_set<uint32_t>& alphabet)
      : sample_(sample), alphabet_(alphabet) {}

  bool Next(std::string& sentence) {
    for (; !sample_.empty(); sample_ = sample_.subspan(1), at_ = 0) {
      const std::string_view text = sample_.front();
      while (at_ < text.size()) {
        const size_t begin = at_;
        size_t length = 0;
        while (at_ < text.size() && Known(text.substr(at_), length)) at_ += length;
        const size_t end = at_;
        if (at_ < text.size()) at_ += length;
        if (end == begin) continue;
        sentence = text.substr(begin, end - begin);
        return true;
      }
    }
    return false;
  }

 private:
  bool Known(std::string_view text, size_t& length) const {
    return IsPlain(text, length) &&
           (text.front() == ' ' || alphabet_.contains(CodePoint(text.substr(0, length))));
  }

  std::span<const std::string_view> sample_;
  const absl::flat_hash_set<uint32_t>& alphabet_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<std::optional<std::string>> TrainBpe(std::string_view text,
                                                    std::span<const Segment> segments,
                                                    int64_t vocab_size) {
  WF_CHECK(vocab_size >= kMinBpeVocabSize && vocab_size <= kMaxBpeVocabSize);
  int64_t train_bytes = 0;
  for (const Segment& segment : segments) train_bytes += segment.validation ? 0 : segment.length;
  const auto budget = std::clamp<int64_t>(vocab_size << 10, 4 << 20, 16 << 20);
  const auto sample =
      Sample(text, segments, static_cast<double>(budget) / static_cast<double>(train_bytes));
  const int64_t room = vocab_size - kReservedPieces - 1;  // 1: the space
  const auto alphabet = ChooseAlphabet(sample, static_cast<size_t>(std::max<int64_t>(1, room / 2)));
  if (alphabet.empty()) return std::nullopt;

  const int64_t supported =
      kReservedPieces + 1 + static_cast<int64_t>(alphabet.size()) + train_bytes / kBytesPerPiece;
  SentenceReader reader(sample, alphabet);
  std::string model;
  const std::string error = TrainSentencePiece(
      {.vocab_size = std::min(vocab_size, supported),
       .next_sentence = [&](std::string& sentence) { return reader.Next(sentence); }},
      model);
  if (!error.empty()) {
    return absl::InternalError(
        absl::StrCat("SentencePiece cannot train a vocabulary of ", vocab_size, ": ", error));
  }
  return model;
}

}  // namespace wavefield
