// checkpoints upload, run as a program against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

#include "core/base/checksum.h"
#include "core/checkpoint/manifest.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

// A coordinator's side of an upload: what came of each file.
class UploadServer {
 public:
  grpc::Status Serve(
      grpc::ServerReaderWriter<v1::UploadCheckpointResponse, v1::UploadCheckpointRequest>& stream) {
    v1::UploadCheckpointRequest request;
    stream.Read(&request);
    begin = request.begin();
    ++calls;
    v1::UploadCheckpointResponse response;
    for (const auto& [path, data] : files) {
      (*response.mutable_offsets())[path] = static_cast<int64_t>(data.size());
    }
    stream.Write(response);
    while (stream.Read(&request)) {
      std::string& file = files[request.chunk().path()];
      EXPECT_EQ(request.chunk().offset(), static_cast<int64_t>(file.size()));
      EXPECT_LE(request.chunk().data().size(), size_t{1} << 20);
      file += request.chunk().data();
      if (break_off-- == 0) return {grpc::StatusCode::UNAVAILABLE, "restarting"};
    }
    response.Clear();
    response.mutable_checkpoint()->set_name("jobs/" + begin.job_id() + "/checkpoints/40-1");
    stream.Write(response);
    return grpc::Status::OK;
  }

  v1::UploadCheckpointRequest::Begin begin;
  std::map<std::string, std::string> files;
  int calls = 0;
  int break_off = -1;  // chunks to take before the connection breaks
};

class CheckpointUploadTest : public testing::Test {
 protected:
  CheckpointUploadTest() {
    std::mt19937 random(seed_);
    CheckpointManifest manifest;
    manifest.job = "elsewhere";
    manifest.step = 40;
    for (const size_t bytes : {size_t{0}, size_t{10}, (size_t{2} << 20) + 17}) {
      std::string data(bytes, '\0');
      for (char& c : data) c = static_cast<char>(random());
      const std::string name = "file-" + std::to_string(bytes);
      files_[name] = data;
      directory_.Write(name, data);
      manifest.files.push_back({.name = name, .bytes = bytes, .sha256 = Sha256Hex(data)});
    }
    std::sort(manifest.files.begin(), manifest.files.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    manifest_ = FormatManifest(manifest);
    directory_.Write("manifest.json", manifest_);
    cluster_.upload_checkpoint = [this](auto& stream) { return server_.Serve(stream); };
  }
  CommandResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "checkpoints");
    return RunWavefield(cluster_.address(), std::move(arguments));
  }
  CommandResult Upload(std::vector<std::string> more = {}) {
    std::vector<std::string> command = {"upload", directory_.path().string(), "--job", "copy"};
    command.insert(command.end(), more.begin(), more.end());
    return Run(std::move(command));
  }

  const uint32_t seed_ = std::random_device()();
  TemporaryDirectory directory_;
  std::string manifest_;
  std::map<std::string, std::string> files_;
  UploadServer server_;
  FakeCluster cluster_;
};

TEST_F(CheckpointUploadTest, EveryFileArrivesWhole) {
  const CommandResult result = Upload({"--note", "from afar"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "copy@40-1\n");
  EXPECT_THAT(result.err, HasSubstr("2.0 MiB sent"));
  EXPECT_EQ(server_.begin.job_id(), "copy");
  EXPECT_EQ(server_.begin.manifest(), manifest_);
  EXPECT_EQ(server_.begin.note(), "from afar");
  files_.erase("file-0");  // nothing of it is sent
  EXPECT_EQ(server_.files, files_) << "seed " << seed_;
}

TEST_F(CheckpointUploadTest, ABrokenConnectionIsTakenUpWhereItWas) {
  server_.break_off = 2;
  const CommandResult result = Upload();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(server_.calls, 2);
  files_.erase("file-0");
  EXPECT_EQ(server_.files, files_) << "seed " << seed_;
}

TEST_F(CheckpointUploadTest, WhatIsNoCheckpointIsNotSent) {
  directory_.Write("file-10", "0123456789");
  const CommandResult changed = Upload();
  EXPECT_EQ(changed.exit_code, 1);
  EXPECT_THAT(changed.err, HasSubstr("file-10 is not as manifest.json says"));
  std::filesystem::remove(directory_.path() / "file-10");
  EXPECT_EQ(Upload().exit_code, 3);
  directory_.Write("manifest.json", "{}");
  EXPECT_EQ(Upload().exit_code, 1);
  std::filesystem::remove(directory_.path() / "manifest.json");
  const CommandResult none = Upload();
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, HasSubstr("is no checkpoint"));
  EXPECT_EQ(Run({"upload", directory_.path().string()}).exit_code, 2);
  EXPECT_EQ(server_.calls, 0);
}

}  // namespace
}  // namespace wavefield
