#include "core/data/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "core/data/tokenizer/bpe_training.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

using testing::HasSubstr;
using testing::Not;

std::optional<std::string> Train(const std::string& text, int64_t vocab_size) {
  const TextRange all = {0, text.size()};
  const auto segments = CutIntoSegments(text, {&all, 1}, SegmentBytes(text.size()));
  auto model = TrainBpe(text, segments, vocab_size);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : std::nullopt;
}

std::unique_ptr<Tokenizer> TrainTokenizer(const std::string& text, int64_t vocab_size) {
  const auto model = Train(text, vocab_size);
  EXPECT_TRUE(model.has_value());
  auto tokenizer = Tokenizer::FromModel(*model);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

void ExpectLossless(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  EXPECT_EQ(tokenizer.Decode(ids), text);
  int64_t bytes = 0;
  for (const int32_t id : ids) {
    ASSERT_GE(id, 0);
    ASSERT_LT(id, tokenizer.vocab_size());
    EXPECT_NE(id, tokenizer.separator_id());
    bytes += tokenizer.description().token_bytes[static_cast<size_t>(id)];
  }
  EXPECT_EQ(bytes, static_cast<int64_t>(text.size()));
}

class LosslessTokenizer : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Tokenizer> Make() {
    if (std::string(GetParam()) == "bytes") return Tokenizer::Bytes();
    return TrainTokenizer(SampleText(random_, 100'000), 700);
  }
  SeededRandom random_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, LosslessTokenizer, testing::Values("bpe", "bytes"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_P(LosslessTokenizer, KeepsWhatIsEasilyLost) {
  const auto tokenizer = Make();
  for (const std::string text : {"",
                                 " ",
                                 "   ",
                                 "\n",
                                 "\n\n\n",
                                 "\t\t",
                                 "\r\n",
                                 " leading",
                                 "trailing ",
                                 "a  b   c    d",
                                 "line\nline\n",
                                 "\xE2\x96\x81",
                                 " \xE2\x96\x81 \xE2\x96\x81\xE2\x96\x81",
                                 "<0x0A>",
                                 "<unk>",
                                 "<|endoftext|>",
                                 "<s></s>",
                                 "\xE2\x81\x87",
                                 "\xE2\x96\x85",
                                 "e\xCC\x81 vs \xC3\xA9",
                                 "\xEF\xBB\xBF",
                                 "\xEF\xBC\xA1\xEF\xAC\x81",
                                 "\xE3\x80\x80\xC2\xA0\xE2\x80\x8B",
                                 "0123456789",
                                 "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80"}) {
    SCOPED_TRACE(text);
    ExpectLossless(*tokenizer, text);
  }
  ExpectLossless(*tokenizer, std::string("nul\0nul", 7));
}

TEST_P(LosslessTokenizer, KeepsRandomUtf8) {
  const auto tokenizer = Make();
  for (int round = 0; round < 200; ++round) {
    ExpectLossless(*tokenizer, RandomUtf8(random_, random_.Below(300)));
  }
}

TEST_P(LosslessTokenizer, KeepsBytesThatAreNoText) {
  const auto tokenizer = Make();
  for (int round = 0; round < 200; ++round) {
    std::string bytes;
    for (uint64_t n = random_.Below(300); n > 0; --n)
      bytes += static_cast<char>(random_.Below(256));
    ExpectLossless(*tokenizer, bytes);
  }
}

TEST_P(LosslessTokenizer, KeepsLongWordsAndRunsOfSpaces) {
  const auto tokenizer = Make();
  std::string word;
  while (word.size() < 50'000) word += "日k";
  ExpectLossless(*tokenizer, word + std::string(50'000, ' ') + word);
}

TEST_P(LosslessTokenizer, SurvivesItsFiles) {
  ScratchDirectory scratch;
  std::unique_ptr<Tokenizer> tokenizer;
  if (std::string(GetParam()) == "bytes") {
    tokenizer = Tokenizer::Bytes();
  } else {
    const auto model = Train(SampleText(random_, 20'000), 400);
    ASSERT_TRUE(model.has_value());
    scratch.Write(kTokenizerModelFile, *model);
    tokenizer = *Tokenizer::FromModel(*model);
  }
  scratch.Write(kTokenizerFile, tokenizer->description().ToJson());
  auto loaded = Tokenizer::Load(scratch.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const std::string text = RandomUtf8(random_, 500);
  EXPECT_EQ((*loaded)->Encode(text), tokenizer->Encode(text));
  EXPECT_EQ((*loaded)->vocab_size(), tokenizer->vocab_size());
  EXPECT_EQ((*loaded)->separator_id(), tokenizer->separator_id());
}

TEST(Tokenizer, BpeNeedsFewerTokensThanBytes) {
  SeededRandom random;
  const auto tokenizer = TrainTokenizer(SampleText(random, 100'000), 700);
  EXPECT_EQ(tokenizer->vocab_size(), 700);
  const std::string unseen = SampleText(random, 10'000);
  EXPECT_LT(tokenizer->Encode(unseen).size(), unseen.size() / 2);
}

TEST(Tokenizer, TrainingIsDeterministic) {
  SeededRandom random;
  const std::string text = SampleText(random, 50'000);
  EXPECT_EQ(Train(text, 500), Train(text, 500));
}

TEST(Tokenizer, AWarmCacheChangesNothing) {
  SeededRandom random;
  const auto tokenizer = TrainTokenizer(SampleText(random, 50'000), 600);
  WordCache cache;
  for (int round = 0; round < 20; ++round) {
    const std::string text = SampleText(random, 1000) + RandomUtf8(random, 100);
    std::vector<int32_t> ids;
    tokenizer->Encode(text, cache, ids);
    EXPECT_EQ(ids, tokenizer->Encode(text));
  }
}

TEST(Tokenizer, EncodesOnSeveralThreadsAtOnce) {
  SeededRandom random;
  const auto tokenizer = TrainTokenizer(SampleText(random, 50'000), 600);
  const std::string text = SampleText(random, 50'000);
  const auto expected = tokenizer->Encode(text);
  std::vector<std::vector<int32_t>> results(4);
  {
    std::vector<std::jthread> threads;
    for (auto& result : results) threads.emplace_back([&] { result = tokenizer->Encode(text); });
  }
  EXPECT_THAT(results, testing::Each(expected));
}

TEST(Tokenizer, TheVocabularyShrinksToWhatTheTextSupports) {
  SeededRandom random;
  EXPECT_EQ(TrainTokenizer("a", 4096)->vocab_size(), 259);
  const int64_t of_300 = TrainTokenizer(SampleText(random, 300), 4096)->vocab_size();
  EXPECT_GT(of_300, 259);
  EXPECT_LT(of_300, 300);
  const int64_t of_30000 = TrainTokenizer(SampleText(random, 30'000), 4096)->vocab_size();
  EXPECT_GT(of_30000, 500);
  EXPECT_LT(of_30000, 900);
}

TEST(Tokenizer, ManyCharactersFitTheSmallestVocabulary) {
  std::string text;
  for (uint32_t code = 0x4E00; code < 0x5E00; ++code) AppendCharacter(text, code);
  const auto tokenizer = TrainTokenizer(text + " " + text, kMinBpeVocabSize);
  EXPECT_EQ(tokenizer->vocab_size(), kMinBpeVocabSize);
  ExpectLossless(*tokenizer, text);
}

TEST(Tokenizer, TextThatSpellsSpecialPiecesTrains) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "<0x0A> <unk> <|endoftext|> <0x0A><0x0A> <s> </s>\n";
  ExpectLossless(*TrainTokenizer(text, 400), text);
}

TEST(Tokenizer, SpacesAloneAndLineBreaksAloneHaveNoAlphabet) {
  EXPECT_FALSE(Train("\n\n\n\t\n", 4096).has_value());
  EXPECT_FALSE(Train("      ", 4096).has_value());
}

TEST(Tokenizer, DecodeSkipsSeparatorAndPadding) {
  const auto tokenizer = Tokenizer::Bytes();
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{'a', 256, 'b', 319, -1, 'c'}), "abc");
}

TEST(Tokenizer, RefusesADamagedModel) {
  SeededRandom random;
  ScratchDirectory scratch;
  std::string model = *Train(SampleText(random, 5000), 300);
  auto tokenizer = Tokenizer::FromModel(model);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  scratch.Write(kTokenizerFile, (*tokenizer)->description().ToJson());
  EXPECT_TRUE(absl::IsNotFound(Tokenizer::Load(scratch.path()).status()));
  model[model.size() / 2] ^= 1;
  scratch.Write(kTokenizerModelFile, model);
  const absl::Status status = Tokenizer::Load(scratch.path()).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer.model"));
}

TEST(Tokenizer, RefusesModelsThatAreNone) {
  for (const char* model : {"", "garbage", "\x0A\x05hello"}) {
    EXPECT_TRUE(absl::IsDataLoss(Tokenizer::FromModel(model).status())) << model;
  }
}

}  // namespace
}  // namespace wavefield
