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
