#pragma once

#include <string>

namespace wavefield::coordinator {

// At most `limit` bytes of `text`, cut between UTF-8 characters, with "…" where something was cut
// off.
inline std::string Shortened(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

}  // namespace wavefield::coordinator
