#pragma once

#include <string>

namespace wavefield {

// What stands before the first line feed.
inline std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace wavefield
