#pragma once

#include <span>
#include <string>
#include <string_view>

namespace wavefield {

// The candidates nearest to `word` by edit distance, best first, at most three, as
// "did you mean 'a', 'b'?"; empty where none is near.
std::string SuggestNearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace wavefield
