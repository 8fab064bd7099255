#include "core/data/tokenizer/dataset_inspection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/data/tokenizer/import.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

constexpr int32_t kSeparator = 300;

// Imports documents of the given lengths, whose tokens are random ids below 300.
class InspectionTest : public testing::Test {
 protected:
  void Make(const std::vector<int64_t>& lengths, int64_t shard_tokens = 1 << 20) {
    std::string bytes;
    const auto add = [&](int32_t id) {
      const auto value = static_cast<uint16_t>(id);
      bytes.append(reinterpret_cast<const char*>(&value), 2);
      ++counts_[id];
      ++tokens_;
    };
    for (const int64_t length : lengths) {
      for (int64_t i = 0; i < length; ++i) add(static_cast<int32_t>(random_.Below(300)));
      add(kSeparator);
    }
    ImportOptions options;
    options.name = "n";
    options.train = {scratch_.Write("train.bin", bytes)};
    options.vocab_size = 301;
    options.separator_id = kSeparator;
    options.validation_fraction = 0;
    options.shard_tokens = shard_tokens;
    StagedFolder staging(scratch_.path() / "out");
    ASSERT_TRUE(staging.Open().ok());
    const auto result = Import(options, staging, [](const PrepareProgress&) {});
    ASSERT_TRUE(result.ok()) << result.status();
  }
  nlohmann::ordered_json Inspect(const InspectionOptions& options = {}) {
    auto json = InspectDataset(scratch_.path() / "out", options);
    EXPECT_TRUE(json.ok()) << json.status();
    return *json;
  }

  SeededRandom random_;
  ScratchDirectory scratch_;
  std::map<int32_t, int64_t> counts_;
  int64_t tokens_ = 0;
};

TEST_F(InspectionTest, CountsEveryTokenAndDocumentOfASmallDataset) {
  std::vector<int64_t> lengths;
  for (int i = 0; i < 501; ++i) lengths.push_back(1 + static_cast<int64_t>(random_.Below(3000)));
  Make(lengths, 100'000);  // several shards
  const auto json = Inspect();
  EXPECT_EQ(json["scanned_tokens"], tokens_);
  EXPECT_EQ(json["distinct_tokens"], counts_.size());
  EXPECT_EQ(json["scanned_documents"], 501);
  std::sort(lengths.begin(), lengths.end());
  EXPECT_EQ(json["document_tokens_p10"], lengths[50]);
  EXPECT_EQ(json["document_tokens_p50"], lengths[250]);
  EXPECT_EQ(json["document_tokens_p90"], lengths[450]);
  EXPECT_EQ(json["document_tokens_max"], lengths.back());
  int64_t documents = 0;
  for (const auto& bucket : json["document_lengths"]) {
    const int64_t most = bucket["max_tokens"];
    const auto in_bucket = std::count_if(lengths.begin(), lengths.end(), [&](int64_t length) {
      return length <= most && (most == 1 || length > most / 2);
    });
    EXPECT_EQ(bucket["documents"], in_bucket) << most;
    documents += in_bucket;
  }
  EXPECT_EQ(documents, 501);
}

TEST_F(InspectionTest, TheMostFrequentTokensComeFirst) {
  Make(std::vector<int64_t>(200, 100));
  const auto json = Inspect({.frequent_tokens = 50});
  ASSERT_EQ(json["frequent_tokens"].size(), 50u);
  std::vector<int64_t> expected;
  for (const auto& [id, count] : counts_) expected.push_back(count);
  std::sort(expected.rbegin(), expected.rend());
  for (size_t i = 0; i < 50; ++i) {
    const auto& token = json["frequent_tokens"][i];
    EXPECT_EQ(token["count"], expected[i]);
    EXPECT_EQ(token["count"], counts_[token["token_id"]]);
  }
}

TEST_F(InspectionTest, ALargeDatasetIsSampledWithinItsBudget) {
  std::vector<int64_t> lengths(3000, 49);
  Make(lengths, 40'000);
  const auto json = Inspect({.scanned_tokens = 12'800});
  EXPECT_EQ(json["scanned_tokens"], 12'800);
  EXPECT_GT(json["scanned_documents"], 50);
  EXPECT_LE(json["scanned_documents"], 256);
  EXPECT_EQ(json["document_tokens_p10"], 49) << "documents that a block cuts are left out";
  EXPECT_EQ(json["document_tokens_max"], 49);
}

TEST_F(InspectionTest, SamplesAreSpreadAndWithinTheTokens) {
  Make(std::vector<int64_t>(100, 99));
  const auto json = Inspect({.samples = 5, .sample_tokens = 10});
  ASSERT_EQ(json["samples"].size(), 5u);
  EXPECT_EQ(json["samples"][0]["position"], 0);
  for (size_t i = 0; i < 5; ++i) {
    const auto& sample = json["samples"][i];
    EXPECT_EQ(sample["token_ids"].size(), 10u);
    EXPECT_NEAR(sample["position"].get<double>(), 2000.0 * static_cast<double>(i), 400);
    EXPECT_EQ(sample["text"], "") << "there is no tokenizer";
  }
  EXPECT_FALSE(json["has_text"]);
  EXPECT_EQ(json["tokens_per_byte"], 0);
}

TEST_F(InspectionTest, TextIsDecodedAndCounted) {
  const std::string text = SampleText(random_, 20'000);
  PrepareOptions options;
  options.name = "n";
  options.tokenizer = "bytes";
  options.corpus.inputs = {scratch_.Write("a.txt", text)};
  StagedFolder staging(scratch_.path() / "out");
  ASSERT_TRUE(staging.Open().ok());
  ASSERT_TRUE(Prepare(options, staging, [](const PrepareProgress&) {}).ok());
  const auto json = Inspect({.samples = 2, .sample_tokens = 30});
  EXPECT_TRUE(json["has_text"]);
  const double tokens = json["train"]["tokens"], bytes = json["train"]["text_bytes"];
  EXPECT_DOUBLE_EQ(json["tokens_per_byte"], tokens / bytes);
  const std::string sample = json["samples"][0]["text"];
  EXPECT_GE(sample.size(), 28u);
  // Its last character may be cut.
  EXPECT_THAT(text, testing::HasSubstr(sample.substr(0, 24)));
}

TEST_F(InspectionTest, WithoutASeparatorThereAreNoDocuments) {
  ImportOptions options;
  options.name = "n";
  options.train = {scratch_.Write("train.bin", std::string(2000, '\1'))};
  options.vocab_size = 300;
  StagedFolder staging(scratch_.path() / "out");
  ASSERT_TRUE(staging.Open().ok());
  ASSERT_TRUE(Import(options, staging, [](const PrepareProgress&) {}).ok());
  const auto json = Inspect();
  EXPECT_EQ(json["separator_id"], -1);
  EXPECT_EQ(json["scanned_documents"], 0);
  EXPECT_FALSE(json.contains("document_lengths"));
  ASSERT_EQ(json["frequent_tokens"].size(), 1u);
  EXPECT_EQ(json["frequent_tokens"][0]["token_id"], 257);
}

TEST_F(InspectionTest, ADirectoryWithoutADatasetIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(InspectDataset(scratch_.path(), {}).status()));
}

}  // namespace
}  // namespace wavefield
