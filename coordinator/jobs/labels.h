#pragma once

#include <algorithm>
#include <string>

namespace wavefield::coordinator {

// A label's value: at most 63 characters of [a-zA-Z0-9_.-]. Its key is such a text too, not empty.
inline bool IsLabelText(const std::string& text) {
  return text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '.' || c == '-';
         });
}

}  // namespace wavefield::coordinator
