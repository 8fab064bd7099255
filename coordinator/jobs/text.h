#pragma once

#include <fmt/format.h>

#include <cstdint>
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

// "1.5 GiB".
inline std::string Gib(int64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
}

}  // namespace wavefield::coordinator
