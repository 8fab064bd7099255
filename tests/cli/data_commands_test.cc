// The commands about datasets and checkpoints, run as programs against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>

#include "core/base/checksum.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

using DatasetStream = grpc::ServerReaderWriter<v1::CreateDatasetResponse, v1::CreateDatasetRequest>;

std::string RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

class DataCommandsTest : public testing::Test {
 protected:
  CommandResult Run(std::vector<std::string> arguments) {
    return RunWavefield(cluster_.address(), std::move(arguments));
  }
  const TemporaryDirectory directory_;
  FakeCluster cluster_;
};

v1::Dataset MakeDataset() {
  v1::Dataset dataset;
  dataset.set_name("datasets/books");
  dataset.set_tokenizer("bpe");
  dataset.set_vocab_size(300);
  dataset.set_requested_vocab_size(4096);
  dataset.set_train_tokens(123456);
  dataset.add_warnings("a.txt: 3 invalid bytes, the first at 17");
  return dataset;
}

TEST_F(DataCommandsTest, PrepareStreamsTheFilesInPieces) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const std::string first = RandomBytes((2 << 20) + 77, seed), second = RandomBytes(1000, seed + 1);
  directory_.Write("in/a.txt", first);
  directory_.Write("in/b.jsonl", second);
  v1::CreateDatasetConfig config;
  std::string received;
  size_t largest = 0;
  cluster_.create_dataset = [&](DatasetStream& stream) {
    v1::CreateDatasetRequest request;
    stream.Read(&request);
    config = request.config();
    v1::CreateDatasetResponse response;
    response.set_send_chunks(true);
    stream.Write(response);
    while (stream.Read(&request)) {
      received += request.chunk();
      largest = std::max(largest, request.chunk().size());
      response.mutable_progress()->set_stage("upload");
      stream.Write(response);
    }
    *response.mutable_dataset() = MakeDataset();
    stream.Write(response);
    return grpc::Status::OK;
  };
  const CommandResult result =
      Run({"data", "prepare", "--name", "books", "--input", (directory_.path() / "in").string(),
           "--vocab-size", "4096", "--document-separator", "%%"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(config.dataset_id(), "books");
  EXPECT_EQ(config.options().vocab_size(), 4096);
  EXPECT_EQ(config.options().document_separator(), "%%");
  EXPECT_FALSE(config.options().has_tokenizer())
      << "what was not asked for is the coordinator's choice";
  ASSERT_EQ(config.sources_size(), 2);
  EXPECT_EQ(config.sources(0).path(), "in/a.txt");
  EXPECT_EQ(config.sources(0).sha256(), Sha256Hex(first));
  EXPECT_EQ(config.sources(1).bytes(), 1000);
  EXPECT_TRUE(received == first + second) << "the text arrived changed";
  EXPECT_LE(largest, size_t{1} << 20);
  EXPECT_THAT(result.out, HasSubstr("123,456 training"));
  EXPECT_THAT(result.out, HasSubstr("a.txt: 3 invalid bytes"));
}

TEST_F(DataCommandsTest, PrepareSaysWhatExistsAlready) {
  cluster_.create_dataset = [](DatasetStream& stream) {
    v1::CreateDatasetRequest request;
    stream.Read(&request);
    v1::CreateDatasetResponse response;
    *response.mutable_dataset() = MakeDataset();
    stream.Write(response);
    return grpc::Status::OK;
  };
  const std::string file = directory_.Write("a.txt", "text");
  const CommandResult people = Run({"data", "prepare", "--name", "books", "--input", file});
  EXPECT_EQ(people.exit_code, 0) << people.err;
  EXPECT_THAT(people.out, HasSubstr("already prepared"));
  const CommandResult script =
      Run({"data", "prepare", "--name", "books", "--input", file, "--json"});
  EXPECT_EQ(json::parse(script.out)["vocab_size"], 300);
}

TEST_F(DataCommandsTest, PrepareShowsTheCoordinatorsError) {
  cluster_.create_dataset = [](DatasetStream& stream) {
    v1::CreateDatasetRequest request;
    stream.Read(&request);
    v1::CreateDatasetResponse response;
    response.set_send_chunks(true);
    stream.Write(response);
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a.txt is not text");
  };
  const std::string file = directory_.Write("a.txt", std::string(20 << 20, 'x'));
  const CommandResult result = Run({"data", "prepare", "--name", "books", "--input", file});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("a.txt is not text"));
}

TEST_F(DataCommandsTest, PrepareRefusesBadInputBeforeItCalls) {
  const std::string file = directory_.Write("a.txt", "text");
  EXPECT_EQ(Run({"data", "prepare", "--name", "books", "--input", file + "x"}).exit_code, 3);
  EXPECT_EQ(Run({"data", "prepare", "--name", "No", "--input", file}).exit_code, 2);
  EXPECT_EQ(Run({"data", "prepare", "--name", "books", "--input", directory_.Write("e.txt", "")})
                .exit_code,
            2);
  EXPECT_EQ(Run({"data", "prepare", "--name", "books", "--input", file, "--tokenizer", "wordpiece"})
                .exit_code,
            2);
  EXPECT_EQ(Run({"data", "prepare", "--name", "books"}).exit_code, 2);
}

TEST_F(DataCommandsTest, DatasetsAreListed) {
  cluster_.list_datasets = [](const v1::ListDatasetsRequest&, v1::ListDatasetsResponse& response) {
    *response.add_datasets() = MakeDataset();
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"data", "list"}).out, HasSubstr("books    bpe               300       123,456"));
  EXPECT_EQ(json::parse(Run({"data", "list", "--json"}).out)["datasets"][0]["train_tokens"],
            "123456");
}

// Takes what is sent; `dataset` is the answer.
auto TakeEverything(v1::CreateDatasetConfig& config, std::string& received,
                    const v1::Dataset& dataset) {
  return [&config, &received, dataset](DatasetStream& stream) {
    v1::CreateDatasetRequest request;
    stream.Read(&request);
    config = request.config();
    v1::CreateDatasetResponse response;
    response.set_send_chunks(true);
    stream.Write(response);
    while (stream.Read(&request)) received += request.chunk();
    *response.mutable_dataset() = dataset;
    stream.Write(response);
    return grpc::Status::OK;
  };
}

TEST_F(DataCommandsTest, ImportSendsTokenFilesWithTheirKinds) {
  v1::CreateDatasetConfig config;
  std::string received;
  v1::Dataset dataset = MakeDataset();
  dataset.set_tokenizer("ids");
  cluster_.create_dataset = TakeEverything(config, received, dataset);
  const CommandResult result =
      Run({"data", "import", "--name", "owt", "--train", directory_.Write("a/x.bin", "train1"),
           directory_.Write("b/x.bin", "train2"), "--validation",
           directory_.Write("val.bin", "held out"), "--token-bytes",
           directory_.Write("bytes.json", "[1]"), "--vocab-size", "50257", "--separator-id",
           "50256", "--dtype", "uint16", "--format", "raw"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(received, "train1train2held out[1]");
  ASSERT_EQ(config.sources_size(), 4);
  EXPECT_EQ(config.sources(0).path(), "x.bin");
  EXPECT_EQ(config.sources(1).path(), "2/x.bin");
  EXPECT_EQ(config.sources(1).kind(), v1::SOURCE_KIND_TRAIN_TOKENS);
  EXPECT_EQ(config.sources(2).kind(), v1::SOURCE_KIND_VALIDATION_TOKENS);
  EXPECT_EQ(config.sources(3).kind(), v1::SOURCE_KIND_TOKEN_BYTES);
  EXPECT_EQ(config.options().vocab_size(), 50257);
  EXPECT_EQ(config.options().separator_id(), 50256);
  EXPECT_EQ(config.options().token_type(), "uint16");
  EXPECT_EQ(config.options().token_format(), "raw");
  EXPECT_THAT(result.out, HasSubstr("bytes of text not known"));
}

TEST_F(DataCommandsTest, ImportRefusesBadInputBeforeItCalls) {
  const std::string file = directory_.Write("a.bin", "ids");
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"data", "import", "--name", "owt"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  };
  EXPECT_EQ(run({"--train", file}).exit_code, 2) << "no vocabulary size";
  EXPECT_EQ(run({"--vocab-size", "9"}).exit_code, 2) << "nothing to import";
  EXPECT_EQ(run({"--train", file + "x", "--vocab-size", "9"}).exit_code, 3);
  const CommandResult empty =
      run({"--train", directory_.Write("empty.bin", ""), "--vocab-size", "9"});
  EXPECT_EQ(empty.exit_code, 2);
  EXPECT_THAT(empty.err, HasSubstr("empty.bin is empty"));
  EXPECT_EQ(run({"--train", file, "--vocab-size", "9", "--dtype", "float"}).exit_code, 2);
  EXPECT_EQ(run({"--train", file, "--vocab-size", "9", "--validation", file,
                 "--validation-fraction", "0.1"})
                .exit_code,
            2);
}

TEST_F(DataCommandsTest, PrepareTakesASentencePieceModel) {
  v1::CreateDatasetConfig config;
  std::string received;
  cluster_.create_dataset = TakeEverything(config, received, MakeDataset());
  const std::string file = directory_.Write("a.txt", "text");
  const std::string model = directory_.Write("their.model", "pieces");
  const CommandResult result =
      Run({"data", "prepare", "--name", "books", "--input", file, "--tokenizer", model});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(received, "textpieces");
  EXPECT_EQ(config.options().tokenizer(), "sentencepiece");
  ASSERT_EQ(config.sources_size(), 2);
  EXPECT_EQ(config.sources(1).kind(), v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  EXPECT_EQ(Run({"data", "prepare", "--name", "books", "--input", file, "--tokenizer", model,
                 "--vocab-size", "500"})
                .exit_code,
            2);
}

TEST_F(DataCommandsTest, ShowPrintsSamplesCountsAndLengths) {
  v1::InspectDatasetRequest asked;
  cluster_.inspect_dataset = [&](const v1::InspectDatasetRequest& request,
                                 v1::DatasetInspection& shown) {
    asked = request;
    *shown.mutable_dataset() = MakeDataset();
    shown.mutable_train()->set_tokens(5'000'000);
    shown.mutable_train()->set_documents(1234);
    shown.set_separator_id(1);
    shown.set_has_text(true);
    shown.set_tokens_per_byte(0.25);
    auto& sample = *shown.add_samples();
    sample.set_position(4096);
    sample.add_token_ids(7);
    sample.set_text("two\nlines\x1b[31m\xC2\x9B and \\");
    shown.set_scanned_tokens(1'000'000);
    auto& token = *shown.add_frequent_tokens();
    token.set_token_id(42);
    token.set_text(" the");
    token.set_count(50'000);
    shown.set_scanned_documents(300);
    shown.set_document_tokens_p50(77);
    auto& few = *shown.add_document_lengths();
    few.set_max_tokens(64);
    few.set_documents(10);
    auto& many = *shown.add_document_lengths();
    many.set_max_tokens(128);
    many.set_documents(40);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"data", "show", "books", "--samples", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(asked.name(), "datasets/books");
  EXPECT_EQ(asked.samples(), 1);
  EXPECT_THAT(result.out, HasSubstr("0.2500"));
  EXPECT_THAT(result.out, HasSubstr(R"(two\nlines\x1b[31m\u009b and \\)"));
  EXPECT_THAT(result.out, HasSubstr("1,000,000 sampled of 5,000,000"));
  EXPECT_THAT(result.out, HasSubstr("5.00 %  ' the'"));
  EXPECT_THAT(result.out, HasSubstr("p50 77"));
  EXPECT_THAT(result.out, HasSubstr(std::string(40, '#')));
  EXPECT_THAT(result.out, HasSubstr(" 10  " + std::string(10, '#') + "\n"));
  EXPECT_EQ(json::parse(Run({"data", "show", "books", "--json"}).out)["scanned_documents"], "300");
}

TEST_F(DataCommandsTest, ShowSaysWhatIsNotKnown) {
  cluster_.inspect_dataset = [](const v1::InspectDatasetRequest&, v1::DatasetInspection& shown) {
    *shown.mutable_dataset() = MakeDataset();
    shown.set_separator_id(-1);
    auto& sample = *shown.add_samples();
    sample.add_token_ids(31);
    sample.add_token_ids(41);
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"data", "show", "books"});
  EXPECT_THAT(result.out, HasSubstr("31 41"));
  EXPECT_THAT(result.out, HasSubstr("neither are bits per byte"));
  EXPECT_THAT(result.out, HasSubstr("documents are not told apart"));
}

// Serves one checkpoint, as the real coordinator does, in chunks of 1000 bytes.
class DownloadTest : public DataCommandsTest {
 protected:
  DownloadTest() {
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    Add("manifest.json", RandomBytes(300, seed_));
    Add("model-00001-of-00001.safetensors", RandomBytes(5500, seed_ + 1));
    Add("empty", "");
    checkpoint_.set_name("jobs/first/checkpoints/100-2");
    checkpoint_.set_step(100);
    cluster_.get_checkpoint = [this](const v1::GetCheckpointRequest& request,
                                     v1::Checkpoint& checkpoint) {
      asked_for_ = request.name();
      checkpoint = checkpoint_;
      return grpc::Status::OK;
    };
    cluster_.download_checkpoint = [this](const v1::DownloadCheckpointRequest& request,
                                          auto& writer) { return Serve(request, writer); };
  }

  void Add(const std::string& path, const std::string& contents) {
    contents_[path] = contents;
    v1::CheckpointFile* file = checkpoint_.add_files();
    file->set_path(path);
    file->set_bytes(static_cast<int64_t>(contents.size()));
    file->set_sha256(Sha256Hex(contents));
  }

  grpc::Status Serve(const v1::DownloadCheckpointRequest& request,
                     grpc::ServerWriter<v1::DownloadCheckpointResponse>& writer) {
    EXPECT_EQ(request.name(), checkpoint_.name());
    v1::DownloadCheckpointResponse response;
    *response.mutable_checkpoint() = checkpoint_;
    writer.Write(response);
    int64_t sent = 0;
    for (const auto& [path, contents] : contents_) {
      const auto offset = request.offsets().find(path);
      int64_t at = offset == request.offsets().end() ? 0 : offset->second;
      while (at < static_cast<int64_t>(contents.size())) {
        if (sent >= break_after_) {
          break_after_ = INT64_MAX;
          return {grpc::StatusCode::UNAVAILABLE, "restarting"};
        }
        v1::DownloadCheckpointResponse chunk;
        chunk.set_path(path);
        chunk.set_offset(at);
        chunk.set_data(contents.substr(static_cast<size_t>(at), 1000));
        at += static_cast<int64_t>(chunk.data().size());
        sent += static_cast<int64_t>(chunk.data().size());
        served_ += static_cast<int64_t>(chunk.data().size());
        writer.Write(chunk);
      }
    }
    return grpc::Status::OK;
  }

  CommandResult Download() {
    return Run({"checkpoints", "download", "first@100", "--output", output_.string(), "--json"});
  }
  void ExpectComplete() {
    for (const auto& [path, contents] : contents_) {
      EXPECT_TRUE(ReadText(output_ / path) == contents) << path << " differs";
    }
    size_t files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(output_))
      files += entry.is_regular_file();
    EXPECT_EQ(files, contents_.size()) << "temporary files are left";
  }
  fs::path PartialPath(const std::string& path) {
    return output_ / (path + "." + Sha256Hex(contents_.at(path)).substr(0, 12) + ".part");
  }

  const uint64_t seed_ = std::random_device()();
  const fs::path output_ = directory_.path() / "out";
  std::map<std::string, std::string> contents_;
  v1::Checkpoint checkpoint_;
  std::string asked_for_;
  int64_t served_ = 0;
  int64_t break_after_ = INT64_MAX;
};

constexpr char kModel[] = "model-00001-of-00001.safetensors";

TEST_F(DownloadTest, FetchesEveryFileAndNothingTwice) {
  const CommandResult first = Download();
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(asked_for_, "jobs/first/checkpoints/100");
  EXPECT_EQ(json::parse(first.out)["fetched_bytes"], 5800);
  ExpectComplete();
  const CommandResult second = Download();
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(json::parse(second.out)["fetched_bytes"], 0);
  EXPECT_EQ(served_, 5800);
  ExpectComplete();
}

TEST_F(DownloadTest, ContinuesAPartialFile) {
  directory_.Write("out/" + PartialPath(kModel).filename().string(),
                   contents_[kModel].substr(0, 3333));
  const CommandResult result = Download();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(served_, 5800 - 3333);
  ExpectComplete();
}

TEST_F(DownloadTest, ContinuesByItselfAfterALostConnection) {
  break_after_ = 2500;
  const CommandResult result = Download();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(served_, 5800);
  ExpectComplete();
}

TEST_F(DownloadTest, ReplacesFilesThatBelongToNoCheckpoint) {
  directory_.Write(std::string("out/") + kModel, RandomBytes(5500, seed_ + 7));
  ASSERT_EQ(Download().exit_code, 0);
  ExpectComplete();
}

TEST_F(DownloadTest, AnotherCheckpointIsNotOverwritten) {
  directory_.Write(std::string("out/") + kModel, "another");
  directory_.Write("out/manifest.json", "{}");
  const CommandResult result = Download();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr(output_.string() + " holds another checkpoint"));
  EXPECT_EQ(served_, 0);
  EXPECT_EQ(ReadText(output_ / kModel), "another");
  EXPECT_EQ(ReadText(output_ / "manifest.json"), "{}");
  EXPECT_EQ(std::distance(fs::directory_iterator(output_), {}), 2) << "nothing is written";
}

TEST_F(DownloadTest, RefusesDataThatDoesNotMatchItsChecksum) {
  contents_[kModel][77] = static_cast<char>(contents_[kModel][77] ^ 1);
  const CommandResult result = Download();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr(kModel));
  EXPECT_THAT(result.err, HasSubstr("checksum"));
  EXPECT_FALSE(fs::exists(output_ / kModel));
  EXPECT_FALSE(fs::exists(output_ / "manifest.json"));
}

TEST_F(DownloadTest, SaysWhatTheCatalogueKnowsOfDamage) {
  contents_[kModel][77] = static_cast<char>(contents_[kModel][77] ^ 1);
  checkpoint_.set_damage("the model is not as it was written");
  const CommandResult result = Download();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("(the model is not as it was written)"));
  EXPECT_THAT(result.err, HasSubstr("running the command again does not help"));
  EXPECT_TRUE(fs::is_empty(output_));
}

TEST_F(DownloadTest, RefusesPathsThatLeaveTheDirectory) {
  for (const char* path : {"../escaped", "/tmp/escaped", "a/../../escaped"}) {
    checkpoint_.clear_files();
    contents_.clear();
    Add(path, "evil");
    const CommandResult result = Download();
    EXPECT_EQ(result.exit_code, 2) << path;
    EXPECT_THAT(result.err, HasSubstr(path));
    EXPECT_FALSE(fs::exists(directory_.path() / "escaped"));
  }
  EXPECT_EQ(served_, 0);
}

TEST_F(DownloadTest, RefusesBytesItDidNotAskFor) {
  cluster_.download_checkpoint = [this](const v1::DownloadCheckpointRequest&, auto& writer) {
    v1::DownloadCheckpointResponse chunk;
    chunk.set_path("manifest.json");
    chunk.set_data(std::string(301, 'x'));
    writer.Write(chunk);
    return grpc::Status::OK;
  };
  const CommandResult result = Download();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("manifest.json"));
}

TEST_F(DownloadTest, ACheckpointThatIsNotThereIsNotFound) {
  cluster_.get_checkpoint = [](const v1::GetCheckpointRequest& request, v1::Checkpoint&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no checkpoint " + request.name());
  };
  EXPECT_EQ(Download().exit_code, 3);
  EXPECT_EQ(Run({"checkpoints", "download", "first@x", "--output", "y"}).exit_code, 2);
}

TEST_F(DownloadTest, CheckpointsOfOneJobOrAllAreListed) {
  std::string parent;
  cluster_.list_checkpoints = [&](const v1::ListCheckpointsRequest& request,
                                  v1::ListCheckpointsResponse& response) {
    parent = request.parent();
    *response.add_checkpoints() = checkpoint_;
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"checkpoints", "list", "first"}).out, HasSubstr("first@100-2   100"));
  EXPECT_EQ(parent, "jobs/first");
  EXPECT_EQ(json::parse(Run({"checkpoints", "list", "--json"}).out)["checkpoints"].size(), 1u);
  EXPECT_EQ(parent, "jobs/-");
}

}  // namespace
}  // namespace wavefield
