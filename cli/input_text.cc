#include "cli/input_text.h"

#include <fmt/format.h>

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

absl::StatusOr<std::string> ResolveTextArgument(const std::string& argument, uint64_t limit) {
  if (argument == "-") return ReadFileOrInput("-", limit);
  if (argument.starts_with("@@")) return argument.substr(1);
  if (argument.starts_with("@")) return ReadFileOrInput(argument.substr(1), limit);
  return argument;
}

// Bytes of the character that begins at `text[at]`, 0 when it is not UTF-8.
size_t CharacterLength(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what is beyond U+10FFFF.
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
      (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
}

}  // namespace

absl::StatusOr<std::string> ReadFileOrInput(const std::string& path, uint64_t limit) {
  return ReadFile(path == "-" ? "/dev/stdin" : path, limit);
}

absl::StatusOr<std::string> ReadTextArgument(const std::string& argument, uint64_t limit) {
  WF_ASSIGN_OR_RETURN(std::string text, ResolveTextArgument(argument, limit));
  if (const size_t place = FindInvalidUtf8(text); place != std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("the text is not UTF-8: byte {} (0x{:02x}) begins no character", place,
                    static_cast<unsigned char>(text[place])));
  }
  return text;
}

size_t FindInvalidUtf8(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::string::npos;
}

}  // namespace wavefield
