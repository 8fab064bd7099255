#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/data/tokenizer/corpus.h"

namespace wavefield {

// A piece of a document that goes to one split as a whole.
struct Segment {
  uint64_t offset = 0;  // in the corpus' text
  uint32_t length = 0;
  bool ends_document = false;
  bool validation = false;
};

// The largest size of a segment for a corpus of `text_bytes`: 1 KiB to 64 KiB.
uint32_t SegmentBytes(uint64_t text_bytes);

// Cuts the documents into segments of at most `segment_bytes`: after the last line that fits, else
// after the last space, else between characters. REQUIRES: segment_bytes >= 8.
std::vector<Segment> CutIntoSegments(std::string_view text, std::span<const TextRange> documents,
                                     uint32_t segment_bytes);

// The share of the text that is held out where the user does not say: 1 %, more of small texts (up
// to 64 KiB, but at most 5 %).
double DefaultValidationFraction(uint64_t text_bytes);

// Picks `fraction` of the segments for validation by a hash of their position: the same for the
// same text. Where the fraction is above 0 and there are two segments or more, both splits get at
// least one. REQUIRES: 0 <= fraction <= 0.5.
void ChooseValidation(std::vector<Segment>& segments, double fraction);

}  // namespace wavefield
