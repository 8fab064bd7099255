#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <memory>
#include <string>

#include "wavefield/v1/audit_service.grpc.pb.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"
#include "wavefield/v1/inference_service.grpc.pb.h"
#include "wavefield/v1/job_service.grpc.pb.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {

// A coordinator whose answers the test writes. What a test does not set answers UNIMPLEMENTED.
// Handlers run on gRPC's threads and are set before the server is used.
class FakeCluster {
 public:
  template <typename Request, typename Response>
  using Unary = std::function<grpc::Status(const Request&, Response&)>;
  template <typename Request, typename Response>
  using ServerStream = std::function<grpc::Status(const Request&, grpc::ServerWriter<Response>&)>;

  Unary<v1::CreateJobRequest, v1::Job> create_job;
  Unary<v1::GetJobRequest, v1::Job> get_job;
  Unary<v1::ListJobsRequest, v1::ListJobsResponse> list_jobs;
  Unary<v1::CancelJobRequest, v1::Job> cancel_job;
  Unary<v1::ListMetricsRequest, v1::ListMetricsResponse> list_metrics;
  Unary<v1::ListFieldHealthRequest, v1::ListFieldHealthResponse> list_field_health;
  ServerStream<v1::WatchJobRequest, v1::WatchJobResponse> watch_job;
  Unary<v1::BatchCreateJobsRequest, v1::BatchCreateJobsResponse> batch_create_jobs;
  Unary<v1::UpdateJobRequest, v1::Job> update_job;
  Unary<v1::PauseJobRequest, v1::Job> pause_job;
  Unary<v1::ResumeJobRequest, v1::Job> resume_job;
  Unary<v1::DeleteJobRequest, v1::Job> delete_job;
  Unary<v1::CancelJobsRequest, v1::CancelJobsResponse> cancel_jobs;
  ServerStream<v1::WatchJobsRequest, v1::WatchJobsResponse> watch_jobs;
  Unary<v1::ExplainJobRequest, v1::JobExplanation> explain_job;
  ServerStream<v1::ReadLogsRequest, v1::ReadLogsResponse> read_logs;
  Unary<v1::ListQueueRequest, v1::ListQueueResponse> list_queue;
  Unary<v1::GetDatasetRequest, v1::Dataset> get_dataset;
  Unary<v1::ListDatasetsRequest, v1::ListDatasetsResponse> list_datasets;
  Unary<v1::InspectDatasetRequest, v1::DatasetInspection> inspect_dataset;
  std::function<grpc::Status(
      grpc::ServerReaderWriter<v1::CreateDatasetResponse, v1::CreateDatasetRequest>&)>
      create_dataset;
  Unary<v1::ListCheckpointsRequest, v1::ListCheckpointsResponse> list_checkpoints;
  Unary<v1::GetCheckpointRequest, v1::Checkpoint> get_checkpoint;
  ServerStream<v1::DownloadCheckpointRequest, v1::DownloadCheckpointResponse> download_checkpoint;
  Unary<v1::UpdateCheckpointRequest, v1::Checkpoint> update_checkpoint;
  ServerStream<v1::VerifyCheckpointRequest, v1::VerifyCheckpointResponse> verify_checkpoint;
  Unary<v1::DeleteCheckpointRequest, v1::Checkpoint> delete_checkpoint;
  Unary<v1::DeleteCheckpointsRequest, v1::DeleteCheckpointsResponse> delete_checkpoints;
  Unary<v1::CollectGarbageRequest, v1::CollectGarbageResponse> collect_garbage;
  std::function<grpc::Status(
      grpc::ServerReaderWriter<v1::UploadCheckpointResponse, v1::UploadCheckpointRequest>&)>
      upload_checkpoint;
  Unary<v1::DiffCheckpointsRequest, v1::DiffCheckpointsResponse> diff_checkpoints;
  Unary<v1::GetLineageRequest, v1::Lineage> get_lineage;
  ServerStream<v1::EvaluateRequest, v1::InferenceOutput> evaluate;
  ServerStream<v1::GenerateRequest, v1::InferenceOutput> generate;
  ServerStream<v1::AuditCausalityRequest, v1::InferenceOutput> audit_causality;
  Unary<v1::ListWorkersRequest, v1::ListWorkersResponse> list_workers;
  Unary<v1::CordonWorkerRequest, v1::Worker> cordon_worker;
  Unary<v1::UncordonWorkerRequest, v1::Worker> uncordon_worker;
  Unary<v1::DrainWorkerRequest, v1::Worker> drain_worker;
  Unary<v1::ListAuditEntriesRequest, v1::ListAuditEntriesResponse> list_audit_entries;

  // Serves on a free loopback port from construction to destruction.
  FakeCluster();
  ~FakeCluster();
  const std::string& address() const { return address_; }

 private:
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace wavefield
