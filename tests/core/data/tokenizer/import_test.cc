#include "core/data/tokenizer/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "core/data/dataset.h"
#include "core/data/tokenizer/tokenizer.h"
#include "tests/core/data/tokenizer/foreign_model.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

template <typename Id>
std::string Raw(const std::vector<int32_t>& ids) {
  std::string bytes;
  for (const int32_t id : ids) {
    const auto value = static_cast<Id>(id);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

// llm.c's header of 256 int32.
std::string Header(uint32_t magic, uint32_t version, uint32_t tokens) {
  std::vector<int32_t> numbers(256);
  numbers[0] = static_cast<int32_t>(magic);
  numbers[1] = static_cast<int32_t>(version);
  numbers[2] = static_cast<int32_t>(tokens);
  return Raw<int32_t>(numbers);
}
std::string Gpt2File(const std::vector<int32_t>& ids) {
  return Header(20240520, 1, static_cast<uint32_t>(ids.size())) + Raw<uint16_t>(ids);
}
std::string Llama3File(const std::vector<int32_t>& ids) {
  return Header(20240801, 7, static_cast<uint32_t>(ids.size())) + Raw<uint32_t>(ids);
}

std::vector<int32_t> Tokens(const TokenStream& stream) {
  std::vector<int32_t> tokens(static_cast<size_t>(stream.size()));
  stream.Copy(0, tokens);
  return tokens;
}

class ImportTest : public testing::Test {
 protected:
  ImportTest() {
    options_.name = "imported";
    options_.vocab_size = 1000;
  }
  std::vector<int32_t> RandomIds(size_t count, uint64_t vocab_size = 1000) {
    std::vector<int32_t> ids(count);
    for (int32_t& id : ids) id = static_cast<int32_t>(random_.Below(vocab_size));
    return ids;
  }
  absl::StatusOr<PrepareResult> TryImport() {
    StagedFolder staging(scratch_.path() / "out");
    if (absl::Status status = staging.Open(); !status.ok()) return status;
    return Import(options_, staging, [](const PrepareProgress& progress) {
      EXPECT_GE(progress.done, 0);
      EXPECT_LE(progress.done, progress.total);
    });
  }
  Dataset MakeDataset() {
    std::filesystem::remove_all(scratch_.path() / "out");
    result_ = TryImport();
    EXPECT_TRUE(result_.ok()) << result_.status();
    auto dataset = Dataset::Open(scratch_.path() / "out", VerifyMode::kFull);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return *std::move(dataset);
  }
  // Imports `bytes` as the only training file and expects to be refused.
  std::string Refusal(const std::string& bytes) {
    options_.train = {scratch_.Write("bad.bin", bytes)};
    const absl::Status status = TryImport().status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "out")) << "something was left";
    EXPECT_FALSE(std::filesystem::exists(scratch_.path() / ".out.partial"));
    return std::string(status.message());
  }

  SeededRandom random_;
  ScratchDirectory scratch_;
  ImportOptions options_;
  absl::StatusOr<PrepareResult> result_ = absl::UnknownError("not imported yet");
};

TEST_F(ImportTest, NanoGptFilesKeepEveryTokenInOrder) {
  const auto train = RandomIds(30'000), validation = RandomIds(2'000);
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(train))};
  options_.validation = {scratch_.Write("val.bin", Raw<uint16_t>(validation))};
  const Dataset dataset = MakeDataset();
  EXPECT_EQ(Tokens(dataset.train()), train);
  EXPECT_EQ(Tokens(dataset.validation()), validation);
  EXPECT_EQ(dataset.vocab_size(), 1000);
  EXPECT_EQ(dataset.separator_id(), kNoSeparator);
  EXPECT_EQ(dataset.manifest().tokenizer.kind, "ids");
  EXPECT_EQ(dataset.manifest().sources[1].path, "val.bin");
}

TEST_F(ImportTest, LlmcFilesOfBothTypesAreRecognised) {
  const auto small = RandomIds(5'000), large = RandomIds(5'000, 128'256);
  options_.vocab_size = 128'256;
  options_.validation_fraction = 0;
  options_.train = {scratch_.Write("a.bin", Gpt2File(small)),
                    scratch_.Write("b.bin", Llama3File(large))};
  const Dataset dataset = MakeDataset();
  auto expected = small;
  expected.insert(expected.end(), large.begin(), large.end());
  EXPECT_EQ(Tokens(dataset.train()), expected);
  EXPECT_THAT(result_->messages, Contains(HasSubstr("no validation split")));
}

TEST_F(ImportTest, RawFilesOf32BitsNeedToBeCalledThat) {
  const auto ids = RandomIds(3'000);
  const std::string bytes = Raw<uint32_t>(ids);
  EXPECT_THAT(Refusal(bytes), HasSubstr("uint32"));
  options_.format.type = "uint32";
  options_.train = {scratch_.Write("a.bin", bytes)};
  options_.validation_fraction = 0;
  EXPECT_EQ(Tokens(MakeDataset().train()), ids);
}

TEST_F(ImportTest, AShareIsHeldOutByWholeDocuments) {
  std::vector<int32_t> ids;
  int documents = 0;
  for (; documents < 400; ++documents) {
    ids.push_back(999);  // as llm.c does: at the beginning
    for (uint64_t n = 1 + random_.Below(60); n > 0; --n) ids.push_back(documents % 900);
  }
  options_.separator_id = 999;
  options_.validation_fraction = 0.1;
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(ids))};
  const Dataset dataset = MakeDataset();
  EXPECT_EQ(dataset.validation().size() + dataset.train().size(), static_cast<int64_t>(ids.size()));
  EXPECT_EQ(dataset.manifest().sources[0].documents, documents);
  const auto held_out = Tokens(dataset.validation());
  // A tenth of the segments, which are documents of different lengths.
  EXPECT_NEAR(static_cast<double>(std::count(held_out.begin(), held_out.end(), 999)), 40, 8);
  for (size_t i = 1; i < held_out.size(); ++i) {
    if (held_out[i] != 999 && held_out[i - 1] != 999) {
      ASSERT_EQ(held_out[i], held_out[i - 1]) << "a document was cut at " << i;
    }
  }
}

TEST_F(ImportTest, DocumentsLongerThanASegmentCountOnce) {
  std::vector<int32_t> ids;
  for (const size_t length : {5'000u, 3u, 0u, 700u, 256u}) {
    ids.insert(ids.end(), length, 7);
    ids.push_back(999);
  }
  ids.insert(ids.end(), 10, 7);  // and one without its end
  options_.separator_id = 999;
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(ids))};
  EXPECT_EQ(MakeDataset().manifest().sources[0].documents, 5);
}

TEST_F(ImportTest, BytesOfTextAreNotKnownWithoutATable) {
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(RandomIds(5'000)))};
  const Dataset dataset = MakeDataset();
  EXPECT_TRUE(dataset.token_bytes().empty());
  EXPECT_EQ(dataset.manifest().train.text_bytes(), 0);
  EXPECT_THAT(result_->messages, Contains(HasSubstr("bits per byte")));
  const absl::Status status = Tokenizer::Load(dataset.directory()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("without a tokenizer"));
}

TEST_F(ImportTest, ATableOfBytesPerTokenTellsThem) {
  std::vector<int> table(1000);
  for (int& entry : table) entry = static_cast<int>(random_.Below(256));
  options_.separator_id = 17;
  options_.token_bytes_file = scratch_.Write("bytes.json", nlohmann::json(table).dump());
  const auto ids = RandomIds(5'000);
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(ids))};
  const Dataset dataset = MakeDataset();
  table[17] = 0;  // the separator stands for no text
  int64_t bytes = 0;
  for (const int32_t id : ids) bytes += table[static_cast<size_t>(id)];
  EXPECT_EQ(dataset.manifest().train.text_bytes() + dataset.manifest().validation.text_bytes(),
            bytes);
  EXPECT_EQ(dataset.token_bytes()[17], 0);
  EXPECT_EQ(dataset.token_bytes()[18], table[18]);
}

TEST_F(ImportTest, BadTablesAreRefused) {
  options_.vocab_size = 3;
  const std::pair<const char*, const char*> tables[] = {
      {"[1, 2]", "2 entries for a vocabulary of 3"},
      {"[1, 2, 256]", "entry 2 is 256"},
      {"[1, -2, 3]", "entry 1 is -2"},
      {"[1, 2.5, 3]", "entry 1 is 2.5"},
      {"{}", "not a JSON list"},
      {"1\n2\n3\n", "not a JSON list"}};
  for (const auto& [table, reason] : tables) {
    options_.token_bytes_file = scratch_.Write("bytes.json", table);
    EXPECT_THAT(Refusal(Raw<uint16_t>({0, 1, 2, 0})),
                AllOf(HasSubstr("bytes.json"), HasSubstr(reason)));
  }
}

TEST_F(ImportTest, ASentencePieceModelGivesTextAndBytes) {
  const std::string text = SampleText(random_, 30'000);
  const std::string model = TrainForeignModel(
      text, {.normalization = "identity", .byte_fallback = true, .vocab_size = 600});
  options_.model_file = scratch_.Write("their.model", model);
  options_.vocab_size.reset();
  const auto tokenizer = *Tokenizer::FromForeignModel(model, std::nullopt);
  const auto ids = tokenizer->Encode(text);
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(ids))};
  options_.validation_fraction = 0;
  const Dataset dataset = MakeDataset();
  EXPECT_EQ(dataset.manifest().train.text_bytes(), static_cast<int64_t>(text.size()));
  EXPECT_EQ((*Tokenizer::Load(dataset.directory()))->Decode(Tokens(dataset.train())), text);

  std::filesystem::remove_all(scratch_.path() / "out");
  options_.vocab_size = 601;
  EXPECT_THAT(Refusal(Raw<uint16_t>(ids)), HasSubstr("601"));
}

TEST_F(ImportTest, TokensOfUnknownTextAreCounted) {
  const std::string model = TrainForeignModel(SampleText(random_, 20'000), {});
  options_.model_file = scratch_.Write("their.model", model);
  options_.vocab_size.reset();
  std::vector<int32_t> ids(1000, 10);
  ids[5] = ids[77] = 0;
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(ids))};
  MakeDataset();
  EXPECT_THAT(result_->messages, Contains(HasSubstr("2 of 1000 tokens are the model's unknown")));
}

TEST_F(ImportTest, BadFilesAreRefusedWithPlaceValueAndLimit) {
  EXPECT_THAT(Refusal(""), AllOf(HasSubstr("bad.bin"), HasSubstr("empty")));
  EXPECT_THAT(Refusal(Raw<uint16_t>({1, 2, 3}) + "x"),
              AllOf(HasSubstr("bad.bin, byte 6"), HasSubstr("7 bytes")));
  EXPECT_THAT(
      Refusal(Raw<uint16_t>({1, 2, 1000, 3})),
      AllOf(HasSubstr("bad.bin, byte 4"), HasSubstr("token 2 is 1000"), HasSubstr("1000 ids")));
  EXPECT_THAT(Refusal(Gpt2File({1, 2, 3, 1001})),
              AllOf(HasSubstr("byte 1030"), HasSubstr("token 3 is 1001")));
  EXPECT_THAT(Refusal(Header(20240520, 2, 3) + Raw<uint16_t>({1, 2, 3})),
              AllOf(HasSubstr("byte 4"), HasSubstr("version 2")));
  EXPECT_THAT(Refusal(Header(20240520, 1, 4) + Raw<uint16_t>({1, 2, 3})),
              AllOf(HasSubstr("byte 1030"), HasSubstr("announces 4 tokens"), HasSubstr("1032")));
  EXPECT_THAT(Refusal(Header(20240520, 1, 0)), HasSubstr("no tokens"));
  EXPECT_THAT(Refusal(Header(20240520, 1, 4).substr(0, 600)), HasSubstr("ends inside"));
  options_.format.layout = "llm.c";
  EXPECT_THAT(Refusal(Header(20240522, 1, 3) + Raw<uint16_t>({1, 2, 3})),
              AllOf(HasSubstr("begins with 20240522"), HasSubstr("20240520")));
  options_.format.type = "uint32";
  EXPECT_THAT(Refusal(Gpt2File({1, 2, 3})), HasSubstr("16 bits"));
}

TEST_F(ImportTest, ASeparatorOutsideTheVocabularyIsRefused) {
  options_.separator_id = 1000;
  EXPECT_THAT(Refusal(Raw<uint16_t>({1, 2, 3})), HasSubstr("1000"));
}

TEST_F(ImportTest, ImportingTwiceGivesTheSameContent) {
  options_.train = {scratch_.Write("train.bin", Raw<uint16_t>(RandomIds(20'000)))};
  const std::string first = MakeDataset().content_hash();
  EXPECT_EQ(MakeDataset().content_hash(), first);
}

}  // namespace
}  // namespace wavefield
