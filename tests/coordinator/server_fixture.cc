#include "tests/coordinator/server_fixture.h"

#include <thread>

#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"

namespace wavefield::coordinator {

void ServerFixture::SetUp() {
  options_.data_dir = DataDir();
  options_.listen = "127.0.0.1:0";
  options_.http_listen = "127.0.0.1:0";
  options_.lease = absl::Seconds(2);
  options_.heartbeat = absl::Milliseconds(100);
  ASSERT_TRUE(CreateDirectories(StorageRoot() / "datasets/text").ok());
  ASSERT_TRUE(WriteFileAtomically(StorageRoot() / "datasets/text/train.tokens", "0123456789").ok());
  auto store = SqliteStore::Open(options_.data_dir / "coordinator.db", {});
  ASSERT_TRUE(store.ok()) << store.status();
  DatasetRecord record;
  v1::Dataset& dataset = *record.mutable_dataset();
  dataset.set_name("datasets/text");
  dataset.set_directory("datasets/text");
  dataset.set_content_hash("abc");
  dataset.set_tokenizer("bytes");
  dataset.set_vocab_size(250);
  dataset.set_train_tokens(1000);
  dataset.set_validation_tokens(100);
  auto& file = *record.add_files();
  file.set_path("train.tokens");
  file.set_bytes(10);
  ASSERT_TRUE(
      (*store)
          ->Write([&](Transaction& transaction) { return transaction.PutDataset("text", record); })
          .ok());
  store->reset();
  Restart();
}

void ServerFixture::Restart() {
  server_.reset();
  auto server = Server::Start(options_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  channel_ = Connect();
  jobs_ = v1::JobService::NewStub(channel_);
  checkpoints_ = v1::CheckpointService::NewStub(channel_);
  datasets_ = v1::DatasetService::NewStub(channel_);
  inference_ = v1::InferenceService::NewStub(channel_);
  workers_ = v1::WorkerService::NewStub(channel_);
}

std::shared_ptr<grpc::Channel> ServerFixture::Connect() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

v1::CreateJobRequest ServerFixture::ValidRequest(const std::string& id, int world_size) {
  v1::CreateJobRequest request;
  request.set_job_id(id);
  v1::JobSpec& spec = *request.mutable_spec();
  spec.mutable_model()->set_preset("wave-field-test");
  spec.set_dataset("text");
  spec.mutable_training()->set_max_steps(10);
  spec.mutable_training()->set_sequence_length(32);
  spec.mutable_resources()->set_world_size(world_size);
  return request;
}

absl::StatusOr<v1::Job> ServerFixture::CreateJob(const v1::CreateJobRequest& request) {
  v1::Job job;
  const absl::Status status = Call(*jobs_, &v1::JobService::Stub::CreateJob, request, job);
  if (!status.ok()) return status;
  return job;
}

v1::Job ServerFixture::GetJob(const std::string& id) {
  v1::GetJobRequest request;
  request.set_name("jobs/" + id);
  v1::Job job;
  EXPECT_TRUE(Call(*jobs_, &v1::JobService::Stub::GetJob, request, job).ok());
  return job;
}

v1::Job ServerFixture::WaitForJob(const std::string& id,
                                  const std::function<bool(const v1::Job&)>& reached) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (true) {
    v1::Job job = GetJob(id);
    if (reached(job)) return job;
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "not reached in time: " << job.ShortDebugString();
      return job;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

v1::Job ServerFixture::WaitForState(const std::string& id, v1::JobState state) {
  return WaitForJob(id, [&](const v1::Job& job) { return job.state() == state; });
}

}  // namespace wavefield::coordinator
