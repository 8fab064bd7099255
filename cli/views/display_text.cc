#include "cli/views/display_text.h"

#include <algorithm>

namespace wavefield {
namespace {

// Every byte that does not continue a character.
bool BeginsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

size_t DisplayWidth(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), BeginsCharacter));
}

std::string OnOneLine(const std::string& text) {
  std::string line;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F.
    const bool high_control =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (high_control) ++i;
    line += high_control || byte < 0x20 || byte == 0x7F ? ' ' : text[i];
  }
  return line;
}

std::string CutToWidth(const std::string& text, int width) {
  const auto columns = static_cast<size_t>(std::max(width, 0));
  if (DisplayWidth(text) <= columns) return text;
  const std::string mark(std::min<size_t>(columns, 2), '.');
  size_t kept = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (BeginsCharacter(text[i]) && kept++ == columns - mark.size())
      return text.substr(0, i) + mark;
  }
  return text;
}

}  // namespace wavefield
