#include "core/data/tokenizer/segments.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace wavefield {
namespace {

// How much of `text`, which is longer than `limit`, the next segment takes.
size_t CutLength(std::string_view text, size_t limit) {
  const std::string_view window = text.substr(0, limit);
  if (const size_t line = window.rfind('\n'); line != std::string_view::npos) return line + 1;
  if (const size_t space = window.rfind(' '); space != std::string_view::npos && space > 0) {
    return space;  // the space begins the next word's token
  }
  size_t length = limit;
  while ((static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return length;
}

}  // namespace

uint32_t SegmentBytes(uint64_t text_bytes) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(text_bytes / 400, 1 << 10, 1 << 16));
}

std::vector<Segment> CutIntoSegments(std::string_view text, std::span<const TextRange> documents,
                                     uint32_t segment_bytes) {
  WF_CHECK(segment_bytes >= 8);
  std::vector<Segment> segments;
  for (const auto& [offset, length] : documents) {
    std::string_view rest = text.substr(offset, length);
    uint64_t at = offset;
    while (!rest.empty()) {
      const size_t size =
          rest.size() <= segment_bytes ? rest.size() : CutLength(rest, segment_bytes);
      rest.remove_prefix(size);
      segments.push_back({.offset = at,
                          .length = static_cast<uint32_t>(size),
                          .ends_document = rest.empty(),
                          .validation = false});
      at += size;
    }
  }
  return segments;
}

double DefaultValidationFraction(uint64_t text_bytes) {
  const double for_small = static_cast<double>(1 << 16) / static_cast<double>(text_bytes);
  return std::max(0.01, std::min(0.05, for_small));
}

void ChooseValidation(std::vector<Segment>& segments, double fraction) {
  WF_CHECK(fraction >= 0 && fraction <= 0.5);
  if (fraction == 0 || segments.size() < 2) return;
  const auto count = static_cast<size_t>(
      std::clamp<double>(std::round(fraction * static_cast<double>(segments.size())), 1,
                         static_cast<double>(segments.size() - 1)));
  const RandomStream hash(0, "validation split");
  std::vector<uint64_t> hashes;
  hashes.reserve(segments.size());
  for (const Segment& segment : segments) hashes.push_back(hash.Bits(segment.offset));
  std::vector<uint64_t> smallest = hashes;
  std::nth_element(smallest.begin(), smallest.begin() + static_cast<ptrdiff_t>(count - 1),
                   smallest.end());
  const uint64_t threshold = smallest[count - 1];
  for (size_t i = 0; i < segments.size(); ++i) segments[i].validation = hashes[i] <= threshold;
}

}  // namespace wavefield
