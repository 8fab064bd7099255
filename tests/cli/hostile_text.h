#pragma once

#include <algorithm>
#include <string>

namespace wavefield {

// What a hostile server says: colours, a bell, another line, a terminal's title.
inline constexpr char kHostileText[] =
    "x\x1b[31mred\a\nnext\xc2\x9b"
    "2J\x1b]0;title\a";

// Line breaks apart.
inline bool HasControlCharacters(const std::string& text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return (c >= 0 && c < 0x20 && c != '\n') || c == 0x7F; }) ||
         text.find("\xc2\x9b") != std::string::npos;
}

}  // namespace wavefield
