#include "cli/views/markup.h"

namespace wavefield {

std::string EscapeMarkup(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        const bool forbidden = byte < 0x20 && c != '\n' && c != '\t' && c != '\r';
        escaped += forbidden ? "\xEF\xBF\xBD" : std::string(1, c);
      }
    }
  }
  return escaped;
}

}  // namespace wavefield
