// Datasets over gRPC, with the real tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/checksum.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

class Datasets : public ServerFixture {
 protected:
  static v1::CreateDatasetConfig Config(const std::string& id,
                                        const std::vector<std::string>& texts) {
    v1::CreateDatasetConfig config;
    config.set_dataset_id(id);
    config.mutable_options()->set_tokenizer("bytes");
    for (size_t i = 0; i < texts.size(); ++i) {
      auto& source = *config.add_sources();
      source.set_path("folder/part-" + std::to_string(i) + ".txt");
      source.set_bytes(static_cast<int64_t>(texts[i].size()));
      source.set_sha256(Sha256Hex(texts[i]));
    }
    return config;
  }

  struct Result {
    absl::Status status;
    bool asked_for_chunks = false;
    std::vector<std::string> stages;
    v1::Dataset dataset;
  };

  Result Create(const v1::CreateDatasetConfig& config, const std::vector<std::string>& chunks) {
    Result result;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto stream = datasets_->CreateDataset(&context);
    v1::CreateDatasetRequest request;
    *request.mutable_config() = config;
    stream->Write(request);
    v1::CreateDatasetResponse response;
    while (stream->Read(&response)) {
      if (response.send_chunks()) {
        result.asked_for_chunks = true;
        for (const std::string& chunk : chunks) {
          request.set_chunk(chunk);
          if (!stream->Write(request)) break;
        }
        stream->WritesDone();
      }
      if (response.has_progress()) result.stages.push_back(response.progress().stage());
      if (response.has_dataset()) result.dataset = response.dataset();
    }
    result.status = FromGrpcStatus(stream->Finish());
    return result;
  }

  std::vector<std::string> StagedUploads() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(StorageRoot() / "datasets")) {
      const std::string name = entry.path().filename();
      if (name[0] == '.') names.push_back(name);
    }
    return names;
  }
};

void AddSource(v1::CreateDatasetConfig& config, const std::string& path,
               const std::string& contents, v1::SourceKind kind) {
  auto& source = *config.add_sources();
  source.set_path(path);
  source.set_bytes(static_cast<int64_t>(contents.size()));
  source.set_sha256(Sha256Hex(contents));
  source.set_kind(kind);
}

// Ids as uint16, little-endian, that count up from 0 below `vocab_size`, again and again.
std::string TokenFile(int tokens, int vocab_size) {
  std::string bytes;
  for (int i = 0; i < tokens; ++i) {
    const int id = i % vocab_size;
    bytes += static_cast<char>(id & 0xFF);
    bytes += static_cast<char>(id >> 8);
  }
  return bytes;
}

std::string Text(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i) text += "line " + std::to_string(i * 7919) + " of some text\n";
  return text;
}

TEST_F(Datasets, TextBecomesACataloguedDatasetOnce) {
  const std::string first = Text(200);
  const std::string second = Text(300);
  const auto config = Config("prose", {first, second});
  const Result made = Create(config, {first.substr(0, 1000), first.substr(1000), second});
  ASSERT_TRUE(made.status.ok()) << made.status;
  EXPECT_TRUE(made.asked_for_chunks);
  EXPECT_THAT(made.stages, testing::Contains("upload"));
  EXPECT_EQ(made.dataset.name(), "datasets/prose");
  EXPECT_EQ(made.dataset.tokenizer(), "bytes");
  EXPECT_GT(made.dataset.train_tokens(), 5000);
  EXPECT_GT(made.dataset.validation_tokens(), 0);
  EXPECT_EQ(made.dataset.content_hash().size(), 64u);
  EXPECT_TRUE(std::filesystem::exists(StorageRoot() / made.dataset.directory() / "manifest.json"));
  EXPECT_TRUE(StagedUploads().empty());

  const Result again = Create(config, {});
  ASSERT_TRUE(again.status.ok()) << again.status;
  EXPECT_FALSE(again.asked_for_chunks) << "it exists already";
  EXPECT_EQ(again.dataset.content_hash(), made.dataset.content_hash());

  auto other = config;
  other.mutable_options()->set_validation_fraction(0.2);
  EXPECT_TRUE(absl::IsAlreadyExists(Create(other, {}).status));

  v1::CreateJobRequest job = ValidRequest("x");
  job.mutable_spec()->set_dataset("prose");
  EXPECT_TRUE(CreateJob(job).ok());

  v1::ListDatasetsRequest list;
  v1::ListDatasetsResponse all;
  ASSERT_TRUE(Call(*datasets_, &v1::DatasetService::Stub::ListDatasets, list, all).ok());
  EXPECT_EQ(all.datasets_size(), 2) << "with the fixture's own";
}

TEST_F(Datasets, DamagedAndIncompleteUploadsLeaveNothing) {
  const std::string text = Text(50);
  std::string damaged = text;
  damaged[10] ^= 1;
  const auto config = Config("prose", {text});
  EXPECT_THAT(std::string(Create(config, {damaged}).status.message()),
              HasSubstr("another SHA-256"));
  EXPECT_THAT(std::string(Create(config, {text.substr(0, 100)}).status.message()),
              HasSubstr("the stream ended after 100 of"));
  EXPECT_THAT(std::string(Create(config, {text + "more"}).status.message()),
              HasSubstr("more than the announced"));
  EXPECT_TRUE(StagedUploads().empty());
  v1::GetDatasetRequest get;
  get.set_name("datasets/prose");
  v1::Dataset dataset;
  EXPECT_TRUE(
      absl::IsNotFound(Call(*datasets_, &v1::DatasetService::Stub::GetDataset, get, dataset)));
  EXPECT_TRUE(Create(config, {text}).status.ok()) << "and can be tried again";
}

TEST_F(Datasets, WhatTheTokenizerRefusesIsPassedOn) {
  auto config = Config("prose", {"this is no JSON\n"});
  config.mutable_sources(0)->set_path("lines.jsonl");
  const Result result = Create(config, {"this is no JSON\n"});
  EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("lines.jsonl"));
  EXPECT_TRUE(StagedUploads().empty());
}

TEST_F(Datasets, SeveralJobsShareOne) {
  const std::string text = Text(300);
  ASSERT_TRUE(Create(Config("prose", {text}), {text}).status.ok());
  for (const char* id : {"first", "second", "third"}) {
    v1::CreateJobRequest job = ValidRequest(id);
    job.mutable_spec()->set_dataset("prose");
    const auto made = CreateJob(job);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->spec().dataset(), "datasets/prose");
  }
}

TEST_F(Datasets, TokenFilesAreImported) {
  const std::string train = TokenFile(6000, 500), validation = TokenFile(700, 500);
  v1::CreateDatasetConfig config;
  config.set_dataset_id("tokens");
  config.mutable_options()->set_vocab_size(500);
  config.mutable_options()->set_separator_id(499);
  AddSource(config, "data.bin", train, v1::SOURCE_KIND_TRAIN_TOKENS);
  AddSource(config, "data.bin", validation, v1::SOURCE_KIND_VALIDATION_TOKENS);
  const Result made = Create(config, {train, validation});
  ASSERT_TRUE(made.status.ok()) << made.status;
  EXPECT_THAT(made.stages, testing::Contains("check"));
  EXPECT_EQ(made.dataset.tokenizer(), "ids");
  EXPECT_EQ(made.dataset.vocab_size(), 500);
  EXPECT_EQ(made.dataset.train_tokens(), 6000);
  EXPECT_EQ(made.dataset.validation_tokens(), 700);
  EXPECT_EQ(made.dataset.text_bytes(), 0) << "not known";
  EXPECT_THAT(made.dataset.warnings(), testing::Contains(HasSubstr("bits per byte")));
  EXPECT_FALSE(Create(config, {}).asked_for_chunks) << "it exists already";
}

TEST_F(Datasets, ABadTokenFileIsNamedWithPlaceValueAndLimit) {
  const std::string train = TokenFile(600, 500);
  v1::CreateDatasetConfig config;
  config.set_dataset_id("tokens");
  config.mutable_options()->set_vocab_size(400);
  AddSource(config, "folder/data.bin", train, v1::SOURCE_KIND_TRAIN_TOKENS);
  const Result made = Create(config, {train});
  EXPECT_TRUE(absl::IsInvalidArgument(made.status)) << made.status;
  const std::string message(made.status.message());
  EXPECT_THAT(message, HasSubstr("token file folder/data.bin, byte 800"))
      << "by the name it was sent under";
  EXPECT_THAT(message, HasSubstr("is 400"));
  EXPECT_THAT(message, HasSubstr("400 ids"));
  EXPECT_TRUE(StagedUploads().empty());
}

TEST_F(Datasets, ADamagedSentencePieceModelIsRefused) {
  const std::string text = Text(100), model = "no model at all";
  auto config = Config("prose", {text});
  config.mutable_options()->set_tokenizer("sentencepiece");
  AddSource(config, "their.model", model, v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  const Result made = Create(config, {text, model});
  EXPECT_TRUE(absl::IsInvalidArgument(made.status)) << made.status;
  EXPECT_THAT(std::string(made.status.message()), HasSubstr("their.model"));
}

TEST_F(Datasets, OptionsThatDoNotFitTheSourcesAreNamed) {
  const auto fields_of = [&](const v1::CreateDatasetConfig& config) {
    const Result result = Create(config, {});
    EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
    std::set<std::string> fields;
    const auto details = BadRequestOf(result.status);
    for (const auto& violation : details.field_violations()) fields.insert(violation.field());
    return fields;
  };
  v1::CreateDatasetConfig tokens;
  tokens.set_dataset_id("tokens");
  tokens.mutable_options()->set_tokenizer("bytes");
  tokens.mutable_options()->set_token_type("float");
  tokens.mutable_options()->set_validation_fraction(0.1);
  AddSource(tokens, "val.bin", "x", v1::SOURCE_KIND_VALIDATION_TOKENS);
  EXPECT_EQ(fields_of(tokens),
            (std::set<std::string>{"sources", "options.tokenizer", "options.token_type",
                                   "options.vocab_size", "options.validation_fraction"}));
  auto text = Config("prose", {"text"});
  text.mutable_options()->set_separator_id(3);
  AddSource(text, "their.model", "x", v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  AddSource(text, "their.json", "x", v1::SOURCE_KIND_TOKEN_BYTES);
  EXPECT_EQ(fields_of(text),
            (std::set<std::string>{"options.tokenizer", "options.separator_id", "sources.kind"}));
  auto large = Config("prose", {"text"});
  large.mutable_options()->set_tokenizer("sentencepiece");
  AddSource(large, "their.model", "x", v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  large.mutable_sources(1)->set_bytes((int64_t{64} << 20) + 1);
  EXPECT_EQ(fields_of(large), std::set<std::string>{"sources.bytes"});
}

TEST_F(Datasets, InspectionShowsWhatIsThere) {
  const std::string text = Text(400);
  ASSERT_TRUE(Create(Config("prose", {text}), {text}).status.ok());
  v1::InspectDatasetRequest request;
  request.set_name("datasets/prose");
  request.set_samples(2);
  request.set_frequent_tokens(5);
  v1::DatasetInspection shown;
  ASSERT_TRUE(Call(*datasets_, &v1::DatasetService::Stub::InspectDataset, request, shown).ok());
  EXPECT_EQ(shown.dataset().name(), "datasets/prose");
  EXPECT_EQ(shown.train().tokens(), shown.dataset().train_tokens());
  EXPECT_EQ(shown.scanned_tokens(), shown.dataset().train_tokens());
  EXPECT_EQ(shown.separator_id(), 256);
  ASSERT_EQ(shown.samples_size(), 2);
  EXPECT_EQ(shown.samples(0).token_ids_size(), 64);
  EXPECT_THAT(text, HasSubstr(shown.samples(0).text()));
  ASSERT_EQ(shown.frequent_tokens_size(), 5);
  EXPECT_EQ(shown.frequent_tokens(0).text(), " ");
  EXPECT_GT(shown.frequent_tokens(0).count(), shown.frequent_tokens(4).count());

  request.set_samples(101);
  const absl::Status refused =
      Call(*datasets_, &v1::DatasetService::Stub::InspectDataset, request, shown);
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  request.set_samples(1);
  request.set_name("datasets/nothing");
  EXPECT_TRUE(absl::IsNotFound(
      Call(*datasets_, &v1::DatasetService::Stub::InspectDataset, request, shown)));
}

TEST_F(Datasets, BadRequestsNameTheirFields) {
  v1::CreateDatasetConfig config = Config("Not Valid", {"text"});
  config.mutable_options()->set_tokenizer("words");
  config.mutable_options()->set_vocab_size(1);
  config.mutable_options()->set_validation_fraction(0.9);
  config.mutable_sources(0)->set_path("../escape.txt");
  config.mutable_sources(0)->set_sha256("abc");
  const Result result = Create(config, {});
  EXPECT_TRUE(absl::IsInvalidArgument(result.status));
  std::set<std::string> fields;
  const auto details = BadRequestOf(result.status);
  for (const auto& violation : details.field_violations()) fields.insert(violation.field());
  EXPECT_EQ(fields, (std::set<std::string>{"dataset_id", "options.tokenizer", "options.vocab_size",
                                           "options.validation_fraction", "sources.path",
                                           "sources.sha256"}));
  EXPECT_THAT(std::string(Create(v1::CreateDatasetConfig(), {}).status.message()),
              HasSubstr("sources"));
}

}  // namespace
}  // namespace wavefield::coordinator
