#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wavefield {

// What stands at the beginning of some bytes.
struct Utf8Step {
  enum Kind {
    kCharacter,   // a well-formed character of `length` bytes
    kInvalid,     // `length` bytes that no character begins with (a maximal ill-formed part)
    kIncomplete,  // all bytes there are, and a well-formed character could begin with them
  };
  Kind kind;
  int length;
};

// REQUIRES: text is not empty.
Utf8Step DecodeUtf8(std::string_view text);

// The code point of a well-formed character.
uint32_t CodePoint(std::string_view character);

// Copies text that arrives in chunks and replaces what is not UTF-8 by U+FFFD. Not thread-safe.
class Utf8Cleaner {
 public:
  // Appends the clean text to `out`; a character cut by the end of the chunk waits for the next.
  void Feed(std::string_view chunk, std::string& out);
  // Call once, after the last chunk.
  void Finish(std::string& out);

  int64_t invalid() const { return invalid_; }  // sequences replaced
  int64_t nul_bytes() const { return nul_bytes_; }
  std::optional<int64_t> first_invalid_offset() const { return first_invalid_offset_; }

 private:
  void Clean(std::string_view text, bool last, std::string& out);

  std::string waiting_;  // begins at offset_
  int64_t offset_ = 0;
  int64_t invalid_ = 0;
  int64_t nul_bytes_ = 0;
  std::optional<int64_t> first_invalid_offset_;
};

}  // namespace wavefield
