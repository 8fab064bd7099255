#include "core/data/tokenizer/utf8.h"

#include <algorithm>
#include <utility>

namespace wavefield {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

// Table 3-7 of the Unicode standard: what may follow each first byte.
Utf8Step DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {Utf8Step::kCharacter, 1};
  if (first < 0xC2 || first > 0xF4) return {Utf8Step::kInvalid, 1};
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8Step::kIncomplete, static_cast<int>(i)};
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (i == 1) {
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
    }
    if (byte(i) < low || byte(i) > high) return {Utf8Step::kInvalid, static_cast<int>(i)};
  }
  return {Utf8Step::kCharacter, static_cast<int>(length)};
}

uint32_t CodePoint(std::string_view character) {
  const auto byte = [&](size_t i) { return uint32_t{static_cast<unsigned char>(character[i])}; };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3:
      return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 |
             (byte(3) & 0x3F);
  }
}

void Utf8Cleaner::Feed(std::string_view chunk, std::string& out) {
  nul_bytes_ += std::count(chunk.begin(), chunk.end(), '\0');
  if (waiting_.empty()) {
    Clean(chunk, false, out);
  } else {
    const std::string joined = std::exchange(waiting_, {}).append(chunk);
    Clean(joined, false, out);
  }
}

void Utf8Cleaner::Finish(std::string& out) {
  const std::string rest = std::exchange(waiting_, {});
  Clean(rest, true, out);
}

void Utf8Cleaner::Clean(std::string_view text, bool last, std::string& out) {
  size_t copied = 0;
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = DecodeUtf8(text.substr(at));
    if (step.kind == Utf8Step::kCharacter) {
      at += static_cast<size_t>(step.length);
      continue;
    }
    if (step.kind == Utf8Step::kIncomplete && !last) break;
    out.append(text.substr(copied, at - copied)).append(kReplacement);
    if (!first_invalid_offset_) first_invalid_offset_ = offset_ + static_cast<int64_t>(at);
    ++invalid_;
    at += static_cast<size_t>(step.length);
    copied = at;
  }
  out.append(text.substr(copied, at - copied));
  offset_ += static_cast<int64_t>(at);
  waiting_ = text.substr(at);
}

}  // namespace wavefield
