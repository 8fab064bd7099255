// SentencePiece models from elsewhere: with other normalisation, without byte pieces, damaged.
#include "tests/core/data/tokenizer/foreign_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/dataset.h"
#include "core/data/tokenizer/prepare.h"
#include "core/data/tokenizer/sentencepiece_model.h"
#include "core/data/tokenizer/tokenizer.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

void ExpectLossless(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  EXPECT_EQ(tokenizer.Decode(ids), text);
  int64_t bytes = 0;
  for (const int32_t id : ids) {
    ASSERT_GE(id, 0);
    ASSERT_LT(id, tokenizer.vocab_size());
    EXPECT_NE(id, tokenizer.separator_id());
    EXPECT_NE(id, tokenizer.model()->unknown_id());
    bytes += tokenizer.description().token_bytes[static_cast<size_t>(id)];
  }
  EXPECT_EQ(bytes, static_cast<int64_t>(text.size())) << "bytes per token are wrong";
}

struct ForeignCase {
  const char* name;
  ForeignModelOptions options;
};

class ForeignModel : public testing::TestWithParam<ForeignCase> {
 protected:
  std::unique_ptr<Tokenizer> Make() {
    auto tokenizer = Tokenizer::FromForeignModel(
        TrainForeignModel(SampleText(random_, 40'000), GetParam().options), std::nullopt);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }
  SeededRandom random_;
};
INSTANTIATE_TEST_SUITE_P(
    Kinds, ForeignModel,
    testing::Values(
        ForeignCase{"unigram", {}}, ForeignCase{"bpe", {.type = "bpe"}},
        ForeignCase{"unigram_with_bytes", {.byte_fallback = true, .vocab_size = 600}},
        ForeignCase{
            "bpe_with_bytes",
            {.type = "bpe", .normalization = "identity", .byte_fallback = true, .vocab_size = 600}},
        ForeignCase{"spans_words", {.spans_words = true}},
        ForeignCase{"symbols", {.user_symbols = "<mask>,ka ro,[SEP]"}},
        ForeignCase{"self_test", {.self_test = true}}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(ForeignModel, IsMadeLossless) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->description().kind, "sentencepiece");
  ExpectLossless(*tokenizer, SampleText(random_, 5000));
  for (const std::string text :
       {"", " ", "  two  spaces ", "line\nline\r\n\t", "\xEF\xBC\xA1\xEF\xAC\x81",
        "<mask>[SEP]<s></s>", "<unk>", "<0x41>", "\xE2\x96\x81 \xE2\x96\x81", "\xFF\xFE",
        "ka ro ka  ro"}) {
    ExpectLossless(*tokenizer, text);
  }
  ExpectLossless(*tokenizer, std::string("nul\0nul", 7));
  for (int round = 0; round < 100; ++round) {
    ExpectLossless(*tokenizer, RandomUtf8(random_, random_.Below(200)));
  }
}

TEST_P(ForeignModel, NeedsFarFewerTokensThanBytes) {
  const auto tokenizer = Make();
  const std::string text = SampleText(random_, 10'000);
  EXPECT_LT(tokenizer->Encode(text).size(), text.size() * 3 / 4);
}

TEST_P(ForeignModel, EndsDocumentsWithItsEndOfSentence) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->separator_id(), 2) << "</s>";
  EXPECT_EQ(tokenizer->description().token_bytes[2], 0);
  EXPECT_EQ(tokenizer->description().token_bytes[0], 0) << "unknown";
  EXPECT_EQ(tokenizer->description().token_bytes[1], 0) << "<s>";
}

TEST_P(ForeignModel, SurvivesItsFiles) {
  const std::string model = TrainForeignModel(SampleText(random_, 20'000), GetParam().options);
  ScratchDirectory scratch;
  scratch.Write(kTokenizerModelFile, model);
  const auto tokenizer = *Tokenizer::FromForeignModel(model, 1);
  scratch.Write(kTokenizerFile, tokenizer->description().ToJson());
  auto loaded = Tokenizer::Load(scratch.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->separator_id(), 1) << "the one that was asked for";
  const std::string text = RandomUtf8(random_, 300);
  EXPECT_EQ((*loaded)->Encode(text), tokenizer->Encode(text));
}

TEST(ForeignModels, IdsAddedForBytesFollowTheModelsOwn) {
  SeededRandom random;
  const std::string text = SampleText(random, 20'000);
  const auto without = *Tokenizer::FromForeignModel(TrainForeignModel(text, {}), std::nullopt);
  EXPECT_EQ(without->vocab_size(), without->model()->own_pieces() + 256);
  const auto with = *Tokenizer::FromForeignModel(
      TrainForeignModel(text, {.byte_fallback = true, .vocab_size = 600}), std::nullopt);
  EXPECT_EQ(with->vocab_size(), with->model()->own_pieces());
}

TEST(ForeignModels, RefuseASeparatorThatIsNoneOfTheirs) {
  SeededRandom random;
  const std::string model = TrainForeignModel(SampleText(random, 20'000), {});
  const auto tokenizer = *Tokenizer::FromForeignModel(model, std::nullopt);
  for (const int32_t id : {-1, static_cast<int32_t>(tokenizer->vocab_size()),
                           static_cast<int32_t>(tokenizer->model()->own_pieces())}) {
    const absl::Status status = Tokenizer::FromForeignModel(model, id).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::to_string(id)));
  }
}

TEST(ForeignModels, DamagedOnesAreRefusedOrLoadButNeverCrash) {
  SeededRandom random;
  const std::string model = TrainForeignModel(SampleText(random, 10'000), {});
  for (int round = 0; round < 300; ++round) {
    std::string damaged = model;
    if (round % 3 == 0) damaged.resize(random.Below(damaged.size()));
    if (round % 3 == 1) damaged.erase(random.Below(damaged.size()), 1 + random.Below(20));
    if (round % 3 == 2) {
      damaged[random.Below(damaged.size())] ^= static_cast<char>(1 + random.Below(255));
    }
    const auto tokenizer = Tokenizer::FromForeignModel(damaged, std::nullopt);
    if (!tokenizer.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(tokenizer.status())) << tokenizer.status();
      continue;
    }
    const std::string text = "ka ro mi, <unk> \xE6\x97\xA5";
    EXPECT_EQ((*tokenizer)->Decode((*tokenizer)->Encode(text)), text);
  }
}

TEST(ForeignModels, PrepareTakesOneInPlaceOfTraining) {
  SeededRandom random;
  ScratchDirectory scratch;
  const std::string text = SampleText(random, 30'000);
  const std::string model = TrainForeignModel(text, {});
  PrepareOptions options;
  options.name = "n";
  options.corpus.inputs = {scratch.Write("a.txt", text)};
  options.tokenizer = "sentencepiece";
  options.model_file = scratch.Write("their.model", model);
  const auto prepare = [&](const char* output) {
    StagedFolder staging(scratch.path() / output);
    EXPECT_TRUE(staging.Open().ok());
    return Prepare(options, staging, [](const PrepareProgress&) {}).status();
  };
  ASSERT_TRUE(prepare("out").ok());
  const auto dataset = Dataset::Open(scratch.path() / "out", VerifyMode::kFull);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->manifest().tokenizer.kind, "sentencepiece");
  EXPECT_EQ(Contents(scratch.path() / "out" / kTokenizerModelFile), model);
  int64_t bytes = 0;
  for (const TokenStream* stream : {&dataset->train(), &dataset->validation()}) {
    std::vector<int32_t> ids(static_cast<size_t>(stream->size()));
    stream->Copy(0, ids);
    for (const int32_t id : ids) bytes += dataset->token_bytes()[static_cast<size_t>(id)];
  }
  EXPECT_EQ(bytes, static_cast<int64_t>(text.size()));

  options.model_file = scratch.Write("cut.model", model.substr(0, model.size() / 2));
  const absl::Status damaged = prepare("other");
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("cut.model"));
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "other"));
}

}  // namespace
}  // namespace wavefield
