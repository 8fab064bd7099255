#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "coordinator/server/server.h"
#include "proto/rpc/status.h"
#include "tests/core/base/temporary_directory.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"
#include "wavefield/v1/inference_service.grpc.pb.h"
#include "wavefield/v1/job_service.grpc.pb.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield::coordinator {

// A coordinator in this process, on free ports, whose store holds the dataset "text".
class ServerFixture : public testing::Test {
 protected:
  void SetUp() override;

  // Stops the one that runs, and starts one on the same data.
  void Restart();
  void Stop() { server_.reset(); }

  std::string DataDir() const { return (directory_.path() / "data").string(); }
  std::filesystem::path StorageRoot() const { return directory_.path() / "data" / "storage"; }
  std::shared_ptr<grpc::Channel> Connect() const;

  // A spec that is valid for the dataset "text".
  static v1::CreateJobRequest ValidRequest(const std::string& id, int world_size = 1);
  absl::StatusOr<v1::Job> CreateJob(const v1::CreateJobRequest& request);
  v1::Job GetJob(const std::string& id);
  // Waits up to ten seconds.
  v1::Job WaitForJob(const std::string& id, const std::function<bool(const v1::Job&)>& reached);
  v1::Job WaitForState(const std::string& id, v1::JobState state);

  TemporaryDirectory directory_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::CheckpointService::Stub> checkpoints_;
  std::unique_ptr<v1::DatasetService::Stub> datasets_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
};

// One unary call with a deadline of ten seconds.
template <typename Stub, typename Request, typename Response>
absl::Status Call(Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request, Response& response, const std::string& token = "") {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  return FromGrpcStatus((stub.*method)(&context, request, &response));
}

}  // namespace wavefield::coordinator
