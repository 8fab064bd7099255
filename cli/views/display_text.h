#pragma once

#include <cstddef>
#include <string>

namespace wavefield {

// Columns that UTF-8 text takes, each character counted as one.
size_t DisplayWidth(const std::string& text);

// `text` with spaces in place of control characters, which could break the line or be obeyed by a
// terminal. `text` is UTF-8.
std::string OnOneLine(const std::string& text);

// `text`, or as much of it as fits `width` columns with a mark that it was cut. `width` >= 0.
std::string CutToWidth(const std::string& text, int width);

}  // namespace wavefield
