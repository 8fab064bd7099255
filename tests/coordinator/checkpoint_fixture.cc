#include "tests/coordinator/checkpoint_fixture.h"

#include <fstream>
#include <thread>

#include "coordinator/admission/spec_defaults.h"
#include "core/base/file.h"
#include "core/checkpoint/writer.h"
#include "proto/rpc/json.h"

namespace wavefield::coordinator {
namespace {

struct Weights {
  explicit Weights(float weight) : embedding(64 * 8, weight), norm(8, weight) {
    embedding[3] = 2 * weight;
    norm[1] = 2 * weight;
    tensors = {{"embedding.weight", {embedding.data(), DType::kFloat32, {64, 8}}},
               {"norm.weight", {norm.data(), DType::kFloat32, {8}}}};
    moments = {{"m.norm.weight", {norm.data(), DType::kFloat32, {8}}}};
  }
  std::vector<float> embedding;
  std::vector<float> norm;
  std::vector<NamedTensor> tensors;
  std::vector<NamedTensor> moments;
};

}  // namespace

void CheckpointFixture::SetUp() {
  ServerFixture::SetUp();
  ConnectWorker();
}

void CheckpointFixture::ConnectWorker() {
  worker_.reset();
  worker_ = std::make_unique<FakeWorker>("a", "a1", 4, ReadFile(StorageRoot() / "probe").value());
  ASSERT_TRUE(worker_->Connect(channel_).ok());
}

void CheckpointFixture::StartJob(const std::string& id,
                                 const std::function<void(v1::JobSpec&)>& change) {
  v1::CreateJobRequest request = ValidRequest(id);
  change(*request.mutable_spec());
  const auto job = CreateJob(request);
  ASSERT_TRUE(job.ok()) << job.status();
  WaitForState(id, v1::JOB_STATE_STARTING);
  ASSERT_TRUE(worker_->ReportStarted(id + "/1/0").ok());
  ASSERT_TRUE(worker_->ReportTraining(id + "/1/0").ok());
  ASSERT_EQ(GetJob(id).state(), v1::JOB_STATE_RUNNING);
}

void CheckpointFixture::FinishJob(const std::string& id, int epoch) {
  const std::string task = id + "/" + std::to_string(epoch) + "/0";
  ASSERT_TRUE(worker_->ReportStep(task, 10).ok());
  ASSERT_TRUE(worker_->ReportFinished(task, false).ok());
  ASSERT_TRUE(worker_->ReportExit(task, 0).ok());
  ASSERT_EQ(GetJob(id).state(), v1::JOB_STATE_SUCCEEDED);
}

std::string CheckpointFixture::Write(const std::filesystem::path& root, const std::string& folder,
                                     const std::string& job, int64_t step, int64_t epoch,
                                     float weight,
                                     const std::function<void(CheckpointManifest&)>& change) {
  const v1::JobSpec spec = GetJob(job).spec();
  CheckpointManifest manifest;
  manifest.job = job;
  manifest.step = static_cast<uint64_t>(step);
  manifest.epoch = static_cast<uint64_t>(epoch);
  manifest.tokens = manifest.step * 100;
  manifest.dataset = spec.dataset();
  manifest.dataset_content_hash = "abc";
  manifest.model_config = ToJson(ModelConfigOf(spec.model(), ModelConfig()));
  manifest.training_spec = nlohmann::json::parse(ToJson(spec));
  manifest.metrics = {{"loss", 10.0 / static_cast<double>(step + 1)}};
  change(manifest);
  Weights weights(weight);
  DirectoryStorage storage(root);
  const absl::Status written = WriteCheckpointShard(storage, folder, 0, 1, weights.tensors,
                                                    weights.moments, {{"format", "wavefield"}});
  EXPECT_TRUE(written.ok()) << written;
  const auto committed = wavefield::CommitCheckpoint(storage, folder, manifest, {});
  EXPECT_TRUE(committed.ok()) << committed.status();
  return ReadFile(root / folder / kManifestFile).value();
}

std::string CheckpointFixture::Save(const std::string& job, int64_t step, int64_t epoch,
                                    float weight,
                                    const std::function<void(CheckpointManifest&)>& change) {
  const std::string directory =
      "checkpoints/" + job + "/" +
      CheckpointDirectoryName({static_cast<uint64_t>(step), static_cast<uint64_t>(epoch)});
  const std::string manifest = Write(StorageRoot(), directory, job, step, epoch, weight, change);
  const std::string task = job + "/" + std::to_string(epoch) + "/0";
  const absl::Status reported = worker_->Report(task, [&](v1::WorkerEvent& event) {
    auto& saved = *event.mutable_trainer()->mutable_checkpoint_saved();
    saved.set_step(step);
    saved.set_directory(directory);
    saved.set_manifest(manifest);
  });
  EXPECT_TRUE(reported.ok()) << reported;
  return "jobs/" + job + "/checkpoints/" + std::to_string(step) + "-" + std::to_string(epoch);
}

absl::StatusOr<v1::Checkpoint> CheckpointFixture::Get(const std::string& name) {
  v1::GetCheckpointRequest request;
  request.set_name(name);
  v1::Checkpoint checkpoint;
  const absl::Status status =
      Call(*checkpoints_, &v1::CheckpointService::Stub::GetCheckpoint, request, checkpoint);
  return status.ok() ? absl::StatusOr<v1::Checkpoint>(checkpoint) : status;
}

absl::StatusOr<std::vector<v1::Checkpoint>> CheckpointFixture::List(const std::string& parent,
                                                                    const std::string& filter,
                                                                    const std::string& order,
                                                                    int page_size) {
  std::vector<v1::Checkpoint> all;
  v1::ListCheckpointsRequest request;
  request.set_parent(parent);
  request.set_filter(filter);
  request.set_order_by(order);
  request.set_page_size(page_size);
  while (true) {
    v1::ListCheckpointsResponse response;
    const absl::Status status =
        Call(*checkpoints_, &v1::CheckpointService::Stub::ListCheckpoints, request, response);
    if (!status.ok()) return status;
    all.insert(all.end(), response.checkpoints().begin(), response.checkpoints().end());
    if (response.next_page_token().empty()) return all;
    request.set_page_token(response.next_page_token());
  }
}

absl::Status CheckpointFixture::Delete(const std::string& name, bool validate_only) {
  v1::DeleteCheckpointRequest request;
  request.set_name(name);
  request.set_validate_only(validate_only);
  v1::Checkpoint deleted;
  return Call(*checkpoints_, &v1::CheckpointService::Stub::DeleteCheckpoint, request, deleted);
}

absl::StatusOr<v1::Checkpoint> CheckpointFixture::Update(const std::string& name, bool pinned,
                                                         const std::string& note,
                                                         const std::vector<std::string>& mask) {
  v1::UpdateCheckpointRequest request;
  request.mutable_checkpoint()->set_name(name);
  request.mutable_checkpoint()->set_pinned(pinned);
  request.mutable_checkpoint()->set_note(note);
  for (const std::string& path : mask) request.mutable_update_mask()->add_paths(path);
  v1::Checkpoint updated;
  const absl::Status status =
      Call(*checkpoints_, &v1::CheckpointService::Stub::UpdateCheckpoint, request, updated);
  return status.ok() ? absl::StatusOr<v1::Checkpoint>(updated) : status;
}

absl::StatusOr<std::vector<v1::VerifyCheckpointResponse>> CheckpointFixture::Verify(
    const std::string& name) {
  v1::VerifyCheckpointRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  const auto stream = checkpoints_->VerifyCheckpoint(&context, request);
  std::vector<v1::VerifyCheckpointResponse> responses;
  v1::VerifyCheckpointResponse response;
  while (stream->Read(&response)) responses.push_back(response);
  const absl::Status status = FromGrpcStatus(stream->Finish());
  if (!status.ok()) return status;
  return responses;
}

std::filesystem::path CheckpointFixture::DirectoryOf(const std::string& name) {
  return StorageRoot() / Get(name).value().directory();
}

void CheckpointFixture::Damage(const std::filesystem::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-1, std::ios::end);
  const char last = static_cast<char>(stream.get() ^ 1);
  stream.seekp(-1, std::ios::end);
  stream.put(last);
}

void CheckpointFixture::WaitUntilRemoved(const std::filesystem::path& directory) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::filesystem::exists(directory)) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << directory;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace wavefield::coordinator
