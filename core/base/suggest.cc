#include "core/base/suggest.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace wavefield {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

std::string SuggestNearest(std::string_view word, std::span<const std::string> candidates) {
  word = word.substr(0, 64);
  const size_t limit = std::max<size_t>(2, word.size() / 3);
  std::vector<std::pair<size_t, std::string_view>> near;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance <= limit) near.emplace_back(distance, candidate);
  }
  std::sort(near.begin(), near.end());
  if (near.empty()) return "";
  std::string text = "did you mean ";
  for (size_t i = 0; i < std::min<size_t>(near.size(), 3); ++i) {
    text += (i ? ", '" : "'") + std::string(near[i].second) + "'";
  }
  return text + "?";
}

}  // namespace wavefield
