#include "core/data/tokenizer/sentencepiece_proto.h"

#include <cstdint>

namespace wavefield {
namespace {

// Fields of SentencePiece's ModelProto.
enum Field : uint64_t { kPieces = 1, kNormalizer = 3, kSelfTest = 4, kDenormalizer = 5 };

// Fields of its NormalizerSpec: name, precompiled_charsmap, add_dummy_prefix,
// remove_extra_whitespaces, escape_whitespaces.
constexpr std::string_view kIdentity("\x0A\x08identity\x12\x00\x18\x00\x20\x00\x28\x01", 18);

enum Wire : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Reads a number of base 128 at `at`, which moves behind it. False at a damaged one.
bool ReadVarint(std::string_view bytes, size_t& at, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Moves `at` behind a field's value. False where it does not fit.
bool SkipValue(std::string_view bytes, uint64_t wire, size_t& at) {
  uint64_t size = 0;
  switch (wire) {
    case kVarint:
      return ReadVarint(bytes, at, size);
    case kFixed64:
      size = 8;
      break;
    case kBytes:
      if (!ReadVarint(bytes, at, size)) return false;
      break;
    case kFixed32:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > bytes.size() - at) return false;
  at += size;
  return true;
}

}  // namespace

std::optional<std::string> WithoutNormalization(std::string_view model, std::string& error) {
  std::string result;
  bool has_pieces = false;
  for (size_t at = 0; at < model.size();) {
    const size_t begin = at;
    uint64_t tag = 0;
    if (!ReadVarint(model, at, tag) || tag >> 3 == 0 || !SkipValue(model, tag & 7, at)) {
      error = "it is damaged or not a SentencePiece model: no field can be read at byte " +
              std::to_string(begin) + " of " + std::to_string(model.size());
      return std::nullopt;
    }
    const uint64_t field = tag >> 3;
    has_pieces = has_pieces || field == kPieces;
    if (field == kNormalizer || field == kSelfTest || field == kDenormalizer) continue;
    result += model.substr(begin, at - begin);
  }
  if (!has_pieces) {
    error = "it is not a SentencePiece model: it has no pieces";
    return std::nullopt;
  }
  result += static_cast<char>(kNormalizer << 3 | kBytes);
  result += static_cast<char>(kIdentity.size());
  result += kIdentity;
  return result;
}

}  // namespace wavefield
