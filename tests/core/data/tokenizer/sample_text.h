#pragma once

#include <string>

#include "tests/core/data/scratch_directory.h"

namespace wavefield {

// About `bytes` of something like prose: words of few syllables in lines and paragraphs.
inline std::string SampleText(SeededRandom& random, size_t bytes) {
  static constexpr const char* kSyllables[] = {"ka",  "ro",  "mi", "ten", "sul", "ve",
                                               "dor", "ani", "o",  "qué", "ß",   "日本"};
  std::string text;
  while (text.size() < bytes) {
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) text += kSyllables[random.Below(12)];
    const uint64_t after = random.Below(40);
    text += after < 34 ? " " : after < 37 ? ",  " : after < 39 ? ".\n" : ".\n\n\t";
  }
  return text;
}

inline void AppendCharacter(std::string& text, uint32_t code) {
  const auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | code >> 6);
    add(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3F));
    add(0x80 | (code & 0x3F));
  } else {
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3F));
    add(0x80 | (code >> 6 & 0x3F));
    add(0x80 | (code & 0x3F));
  }
}

// Valid UTF-8 from every corner of Unicode, with many spaces and control characters.
inline std::string RandomUtf8(SeededRandom& random, size_t characters) {
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    uint32_t code = 0;
    switch (random.Below(8)) {
      case 0:
        code = ' ';
        break;
      case 1:
        code = static_cast<uint32_t>(random.Below(0x20));
        break;
      case 2:
        code = 0x2580 + static_cast<uint32_t>(random.Below(8));
        break;  // U+2581 among them
      case 3:
        code = static_cast<uint32_t>(random.Below(0x800));
        break;
      case 4:
        code = static_cast<uint32_t>(random.Below(0xD800));
        break;
      case 5:
        code = 0xE000 + static_cast<uint32_t>(random.Below(0x102000));
        break;
      default:
        code = 'a' + static_cast<uint32_t>(random.Below(26));
        break;
    }
    AppendCharacter(text, code);
  }
  return text;
}

}  // namespace wavefield
