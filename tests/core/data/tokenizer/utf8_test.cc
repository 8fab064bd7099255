#include "core/data/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

struct Cleaned {
  std::string text;
  int64_t invalid;
  std::optional<int64_t> first;
};

Cleaned Clean(std::string_view text, size_t chunk) {
  Utf8Cleaner cleaner;
  std::string out;
  for (; !text.empty(); text.remove_prefix(std::min(chunk, text.size()))) {
    cleaner.Feed(text.substr(0, chunk), out);
  }
  cleaner.Finish(out);
  return {out, cleaner.invalid(), cleaner.first_invalid_offset()};
}

TEST(Utf8, KeepsEveryCodePointAndItsNumber) {
  for (uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    AppendCharacter(text, code);
    const Utf8Step step = DecodeUtf8(text);
    ASSERT_EQ(step.kind, Utf8Step::kCharacter) << code;
    ASSERT_EQ(static_cast<size_t>(step.length), text.size()) << code;
    ASSERT_EQ(CodePoint(text), code);
  }
}

// The examples of the Unicode standard, section 3.9, table 3-8 and its neighbours.
TEST(Utf8Cleaner, ReplacesEveryMaximalIllFormedPart) {
  const std::string bad = "\xEF\xBF\xBD";
  const std::pair<std::string, std::string> cases[] = {
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", bad + bad + bad + bad + bad + bad + bad + bad + "A"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", bad + bad + bad + bad + bad + bad + bad + bad + "A"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", bad + bad + bad + bad + "A"},
      {"caf\xE9", "caf" + bad},
      {"\xF4\x90\x80\x80", bad + bad + bad + bad},
      {"\xFF", bad},
  };
  for (const auto& [text, expected] : cases) {
    for (size_t chunk = 1; chunk <= text.size(); ++chunk) {
      EXPECT_EQ(Clean(text, chunk).text, expected) << "chunks of " << chunk;
    }
  }
}

TEST(Utf8Cleaner, ReportsCountAndFirstPlaceWhateverTheChunks) {
  const std::string text =
      "ab\xC3\xA9"
      "cd\x80"
      "e\xE2\x96";
  for (size_t chunk = 1; chunk <= text.size(); ++chunk) {
    const Cleaned cleaned = Clean(text, chunk);
    EXPECT_EQ(cleaned.text,
              "ab\xC3\xA9"
              "cd\xEF\xBF\xBD"
              "e\xEF\xBF\xBD");
    EXPECT_EQ(cleaned.invalid, 2);
    EXPECT_EQ(cleaned.first, 6);
  }
}

TEST(Utf8Cleaner, LeavesValidTextAlone) {
  SeededRandom random;
  for (int round = 0; round < 50; ++round) {
    const std::string text = RandomUtf8(random, 200);
    const Cleaned cleaned = Clean(text, 1 + random.Below(64));
    EXPECT_EQ(cleaned.text, text);
    EXPECT_EQ(cleaned.invalid, 0);
    EXPECT_EQ(cleaned.first, std::nullopt);
  }
}

TEST(Utf8Cleaner, MakesValidTextOfAnyBytes) {
  SeededRandom random;
  for (int round = 0; round < 50; ++round) {
    std::string bytes;
    for (int i = 0; i < 300; ++i) bytes += static_cast<char>(random.Below(256));
    const Cleaned once = Clean(bytes, 1 + random.Below(64));
    EXPECT_EQ(once.text, Clean(bytes, bytes.size()).text);
    EXPECT_EQ(Clean(once.text, 1000).invalid, 0);
  }
}

}  // namespace
}  // namespace wavefield
