#include "cli/views/escaped_text.h"

#include <fmt/format.h>

namespace wavefield {

namespace {

std::string Escaped(const std::string& text, bool lines) {
  std::string escaped;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, which terminals obey as they do the control characters below 32.
    const bool high_control =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (lines && (byte == '\n' || byte == '\t' || byte == '\\')) {
      escaped += text[i];
    } else if (byte == '\n') {
      escaped += "\\n";
    } else if (byte == '\t') {
      escaped += "\\t";
    } else if (byte == '\r') {
      escaped += "\\r";
    } else if (byte == '\\') {
      escaped += "\\\\";
    } else if (byte < 0x20 || byte == 0x7F) {
      escaped += fmt::format("\\x{:02x}", byte);
    } else if (high_control) {
      escaped += fmt::format("\\u00{:02x}", static_cast<unsigned char>(text[++i]));
    } else {
      escaped += text[i];
    }
  }
  return escaped;
}

}  // namespace

std::string EscapedText(const std::string& text) { return Escaped(text, /*lines=*/false); }

std::string EscapedLines(const std::string& text) { return Escaped(text, /*lines=*/true); }

}  // namespace wavefield
