#include "core/data/tokenizer/segments.h"

#include <gtest/gtest.h>

#include "core/data/tokenizer/utf8.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

std::vector<Segment> Cut(std::string_view text, uint32_t size) {
  const TextRange all = {0, text.size()};
  return CutIntoSegments(text, {&all, 1}, size);
}

size_t CountValidation(const std::vector<Segment>& segments) {
  return static_cast<size_t>(std::count_if(segments.begin(), segments.end(),
                                           [](const Segment& s) { return s.validation; }));
}

std::vector<Segment> Segments(size_t count) {
  std::vector<Segment> segments(count);
  for (size_t i = 0; i < count; ++i) segments[i].offset = i * 100;
  return segments;
}

TEST(Segments, CoverTheTextWithoutGapsAndEndAtLines) {
  SeededRandom random;
  const std::string text = SampleText(random, 20'000);
  const auto segments = Cut(text, 1024);
  uint64_t at = 0;
  for (const Segment& segment : segments) {
    EXPECT_EQ(segment.offset, at);
    EXPECT_LE(segment.length, 1024u);
    at += segment.length;
    EXPECT_EQ(segment.ends_document, at == text.size());
    EXPECT_TRUE(at == text.size() || text[at - 1] == '\n') << at;
  }
  EXPECT_EQ(at, text.size());
}

TEST(Segments, WithoutLinesEndBeforeAWord) {
  std::vector<uint32_t> lengths;
  for (const Segment& segment : Cut("one two three four five six", 10)) {
    lengths.push_back(segment.length);
  }
  EXPECT_EQ(lengths, (std::vector<uint32_t>{7, 6, 5, 9}));
}

TEST(Segments, NeverCutACharacter) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += i % 3 == 0 ? "\xF0\x9F\x9A\x80" : "\xE6\x97\xA5";
  uint64_t at = 0;
  for (const Segment& segment : Cut(text, 10)) {
    std::string_view piece = std::string_view(text).substr(segment.offset, segment.length);
    EXPECT_EQ(segment.offset, at);
    at += segment.length;
    for (Utf8Step step; !piece.empty(); piece.remove_prefix(static_cast<size_t>(step.length))) {
      step = DecodeUtf8(piece);
      ASSERT_EQ(step.kind, Utf8Step::kCharacter);
    }
  }
  EXPECT_EQ(at, text.size());
}

TEST(Segments, DocumentsStayApart) {
  const std::string text = "first--second";
  const std::vector<TextRange> documents = {{0, 5}, {7, 6}};
  const auto segments = CutIntoSegments(text, documents, 1024);
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_TRUE(segments[0].ends_document);
  EXPECT_EQ(segments[1].offset, 7u);
  EXPECT_EQ(segments[1].length, 6u);
}

TEST(Segments, SizeGrowsWithTheText) {
  EXPECT_EQ(SegmentBytes(1), 1024u);
  EXPECT_EQ(SegmentBytes(4'000'000), 10'000u);
  EXPECT_EQ(SegmentBytes(uint64_t{1} << 40), 65'536u);
}

TEST(ValidationSplit, IsTheSameEachTimeAndOfTheSizeAskedFor) {
  auto once = Segments(1000);
  auto again = Segments(1000);
  ChooseValidation(once, 0.05);
  ChooseValidation(again, 0.05);
  EXPECT_EQ(CountValidation(once), 50u);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_EQ(once[i].validation, again[i].validation);
}

TEST(ValidationSplit, IsSpreadOverTheText) {
  auto segments = Segments(10'000);
  ChooseValidation(segments, 0.1);
  for (size_t begin = 0; begin < 10'000; begin += 1000) {
    size_t count = 0;
    for (size_t i = begin; i < begin + 1000; ++i) count += segments[i].validation ? 1 : 0;
    EXPECT_NEAR(static_cast<double>(count), 100, 50) << begin;
  }
}

TEST(ValidationSplit, BothSplitsGetASegmentWhereThereAreTwo) {
  for (size_t count = 2; count < 40; ++count) {
    auto segments = Segments(count);
    ChooseValidation(segments, 0.001);
    EXPECT_EQ(CountValidation(segments), 1u);
    ChooseValidation(segments, 0.5);
    EXPECT_LT(CountValidation(segments), count);
  }
}

TEST(ValidationSplit, ASingleSegmentAndAFractionOfNothingStayInTraining) {
  auto one = Segments(1);
  ChooseValidation(one, 0.5);
  EXPECT_EQ(CountValidation(one), 0u);
  auto many = Segments(100);
  ChooseValidation(many, 0);
  EXPECT_EQ(CountValidation(many), 0u);
}

TEST(ValidationSplit, SmallTextsHoldOutMore) {
  EXPECT_DOUBLE_EQ(DefaultValidationFraction(1000), 0.05);
  EXPECT_DOUBLE_EQ(DefaultValidationFraction(2 << 20), 1.0 / 32);
  EXPECT_DOUBLE_EQ(DefaultValidationFraction(uint64_t{1} << 30), 0.01);
}

}  // namespace
}  // namespace wavefield
