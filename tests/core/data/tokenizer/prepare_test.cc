#include "core/data/tokenizer/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/data/dataset.h"
#include "core/data/tokenizer/tokenizer.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() {
    options_.name = "sample";
    options_.vocab_size = 500;
  }

  absl::StatusOr<PrepareResult> TryPrepare(const std::string& output) {
    StagedFolder staging(scratch_.path() / output);
    if (absl::Status status = staging.Open(); !status.ok()) return status;
    return Prepare(options_, staging, [](const PrepareProgress& progress) {
      EXPECT_GE(progress.done, 0);
      EXPECT_LE(progress.done, progress.total);
    });
  }
  // Prepares, verifies every byte and loads.
  Dataset MakeDataset(const std::string& output) {
    result_ = TryPrepare(output);
    EXPECT_TRUE(result_.ok()) << result_.status();
    auto dataset = Dataset::Open(scratch_.path() / output, VerifyMode::kFull);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return *std::move(dataset);
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  static std::vector<int32_t> Tokens(const TokenStream& stream) {
    std::vector<int32_t> tokens(static_cast<size_t>(stream.size()));
    stream.Copy(0, tokens);
    return tokens;
  }
  // The text of each document.
  static std::vector<std::string> Documents(const Dataset& dataset, const TokenStream& stream) {
    auto tokenizer = Tokenizer::Load(dataset.directory());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::vector<std::string> documents;
    std::vector<int32_t> ids;
    for (const int32_t id : Tokens(stream)) {
      if (id == dataset.separator_id()) {
        documents.push_back((*tokenizer)->Decode(ids));
        ids.clear();
      } else {
        ids.push_back(id);
      }
    }
    EXPECT_TRUE(ids.empty()) << "the last document has no separator";
    return documents;
  }

  SeededRandom random_;
  ScratchDirectory scratch_;
  PrepareOptions options_;
  absl::StatusOr<PrepareResult> result_ = absl::UnknownError("not prepared yet");
};

TEST_F(PrepareTest, KeepsEveryDocumentWhole) {
  std::map<std::string, int> expected;
  std::string lines;
  for (int i = 0; i < 200; ++i) {
    const std::string text = SampleText(random_, 20 + random_.Below(500));
    ++expected[text];
    lines += nlohmann::json({{"text", text}}).dump() + "\n";
  }
  options_.corpus.inputs = {scratch_.Write("a.jsonl", lines)};
  const Dataset dataset = MakeDataset("out");
  std::map<std::string, int> found;
  for (const auto& text : Documents(dataset, dataset.train())) ++found[text];
  const auto validation = Documents(dataset, dataset.validation());
  for (const auto& text : validation) ++found[text];
  EXPECT_EQ(found, expected);
  EXPECT_EQ(validation.size(), 10u);  // 5 % of a small text
  EXPECT_EQ(dataset.manifest().train.documents(), 190);
}

TEST_F(PrepareTest, OneLongTextIsCutBetweenTheSplits) {
  const std::string text = SampleText(random_, 200'000);
  options_.corpus.inputs = {scratch_.Write("a.txt", text)};
  const Dataset dataset = MakeDataset("out");
  const auto train = Documents(dataset, dataset.train());
  const auto validation = Documents(dataset, dataset.validation());
  EXPECT_GT(validation.size(), 3u);
  size_t bytes = 0;
  for (const auto& documents : {train, validation}) {
    for (const std::string& document : documents) {
      EXPECT_THAT(text, HasSubstr(document));
      bytes += document.size();
    }
  }
  EXPECT_EQ(bytes, text.size());
}

TEST_F(PrepareTest, TokenBytesAddUpToTheText) {
  options_.corpus.inputs = {scratch_.Write("a.txt", SampleText(random_, 50'000))};
  const Dataset dataset = MakeDataset("out");
  for (const TokenStream* stream : {&dataset.train(), &dataset.validation()}) {
    int64_t bytes = 0;
    for (const int32_t id : Tokens(*stream))
      bytes += dataset.token_bytes()[static_cast<size_t>(id)];
    EXPECT_EQ(bytes, stream == &dataset.train() ? dataset.manifest().train.text_bytes()
                                                : dataset.manifest().validation.text_bytes());
  }
}

TEST_F(PrepareTest, ThreadsAndRepetitionChangeNoByte) {
  options_.corpus.inputs = {scratch_.Write("a.txt", SampleText(random_, 300'000))};
  options_.threads = 1;
  MakeDataset("one");
  options_.threads = 7;
  MakeDataset("seven");
  for (const char* file : {"manifest.json", "tokenizer.json", "tokenizer.model",
                           "train-00000.tokens", "validation-00000.tokens"}) {
    const std::string contents = Contents(scratch_.path() / "one" / file);
    EXPECT_FALSE(contents.empty()) << file;
    EXPECT_EQ(contents, Contents(scratch_.path() / "seven" / file)) << file;
  }
}

TEST_F(PrepareTest, ShardsHoldTheSameTokensWhateverTheirSize) {
  options_.corpus.inputs = {scratch_.Write("a.txt", SampleText(random_, 100'000))};
  const Dataset whole = MakeDataset("whole");
  options_.shard_tokens = 1500;
  const Dataset cut = MakeDataset("cut");
  EXPECT_EQ(whole.manifest().train.shards.size(), 1u);
  EXPECT_GT(cut.manifest().train.shards.size(), 10u);
  EXPECT_EQ(Tokens(whole.train()), Tokens(cut.train()));
  EXPECT_EQ(Tokens(whole.validation()), Tokens(cut.validation()));
  for (const ShardManifest& shard : cut.manifest().train.shards) EXPECT_LE(shard.tokens, 1500);
}

TEST_F(PrepareTest, TinyTextsWorkAndSaySo) {
  for (const size_t size : {1, 2, 30, 300, 3000}) {
    std::string text = SampleText(random_, size);
    options_.corpus.inputs = {scratch_.Write("a.txt", text)};
    const Dataset dataset = MakeDataset("out" + std::to_string(size));
    EXPECT_GE(dataset.train().size(), 2) << size;
    EXPECT_GE(dataset.vocab_size(), 259) << size;
    EXPECT_LT(dataset.vocab_size(), 500) << size;
    EXPECT_EQ(dataset.manifest().tokenizer.requested_vocab_size, 500);
    EXPECT_THAT(result_->messages, Contains(HasSubstr("not the 500 asked for"))) << size;
    EXPECT_EQ(dataset.validation().size() == 0, size < 1000) << size;
  }
}

TEST_F(PrepareTest, TextWithoutLettersFallsBackToBytes) {
  options_.corpus.inputs = {scratch_.Write("a.txt", "\n\n\t\n")};
  const Dataset dataset = MakeDataset("out");
  EXPECT_EQ(dataset.manifest().tokenizer.kind, "bytes");
  EXPECT_EQ(dataset.train().size(), 5);
  EXPECT_THAT(result_->messages, Contains(HasSubstr("bytes are the tokens")));
}

TEST_F(PrepareTest, BytesNeedNoTraining) {
  options_.tokenizer = "bytes";
  options_.validation_fraction = 0;
  options_.corpus.inputs = {scratch_.Write("a.txt", "héllo")};
  const Dataset dataset = MakeDataset("out");
  EXPECT_EQ(Tokens(dataset.train()), (std::vector<int32_t>{'h', 0xC3, 0xA9, 'l', 'l', 'o', 256}));
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "out" / kTokenizerModelFile));
}

TEST_F(PrepareTest, TheValidationFractionIsObeyed) {
  options_.validation_fraction = 0.25;
  options_.corpus.inputs = {scratch_.Write("a.txt", SampleText(random_, 200'000))};
  const Dataset dataset = MakeDataset("out");
  EXPECT_NEAR(static_cast<double>(dataset.manifest().validation.text_bytes()), 50'000, 2'000);
}

TEST_F(PrepareTest, InvalidUtf8IsReportedWithItsPlace) {
  std::string text = SampleText(random_, 5000);
  text[3000] = '\xFF';
  options_.corpus.inputs = {scratch_.Write("a.txt", text)};
  const Dataset dataset = MakeDataset("out");
  EXPECT_GE(dataset.manifest().sources[0].invalid_utf8, 1);
  EXPECT_THAT(result_->messages, Contains(HasSubstr("a.txt: ")));
}

TEST_F(PrepareTest, LeavesOnlyTheDataset) {
  options_.corpus.inputs = {scratch_.Write("a.txt", SampleText(random_, 5000))};
  MakeDataset("out");
  EXPECT_THAT(Files(), testing::UnorderedElementsAre("a.txt", "out"));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path() / "out")) {
    names.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(names,
              testing::UnorderedElementsAre("manifest.json", "tokenizer.json", "tokenizer.model",
                                            "train-00000.tokens", "validation-00000.tokens"));
}

TEST_F(PrepareTest, AFailureLeavesNothing) {
  options_.corpus.inputs = {scratch_.Write("a.jsonl", "{\"text\": \"good\"}\nbad\n")};
  EXPECT_FALSE(TryPrepare("out").ok());
  EXPECT_THAT(Files(), testing::UnorderedElementsAre("a.jsonl"));
}

TEST_F(PrepareTest, DoesNotTouchAnOutputThatIsInUse) {
  options_.corpus.inputs = {scratch_.Write("a.txt", "x")};
  scratch_.Write("out/precious", "y");
  EXPECT_TRUE(absl::IsAlreadyExists(TryPrepare("out").status()));
  EXPECT_EQ(Contents(scratch_.path() / "out/precious"), "y");
}

}  // namespace
}  // namespace wavefield
