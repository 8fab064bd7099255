#pragma once

#include <string>

namespace wavefield {

// Text on one line, safe to print: line breaks, tabs, backslashes and control characters become
// escapes as in C. `text` is UTF-8.
std::string EscapedText(const std::string& text);

// The same, but line breaks, tabs and backslashes stay as they are.
std::string EscapedLines(const std::string& text);

}  // namespace wavefield
