#include "tests/cli/fake_cluster.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

namespace wavefield {
namespace {

using grpc::ServerContext;
using grpc::ServerWriter;
using grpc::Status;

template <typename Handler, typename... Arguments>
Status Answer(const Handler& handler, Arguments&... arguments) {
  if (!handler) return Status(grpc::StatusCode::UNIMPLEMENTED, "the test set no answer");
  return handler(arguments...);
}

class Jobs final : public v1::JobService::Service {
 public:
  explicit Jobs(FakeCluster& fake) : fake_(fake) {}
  Status CreateJob(ServerContext*, const v1::CreateJobRequest* q, v1::Job* a) override {
    return Answer(fake_.create_job, *q, *a);
  }
  Status GetJob(ServerContext*, const v1::GetJobRequest* q, v1::Job* a) override {
    return Answer(fake_.get_job, *q, *a);
  }
  Status ListJobs(ServerContext*, const v1::ListJobsRequest* q, v1::ListJobsResponse* a) override {
    return Answer(fake_.list_jobs, *q, *a);
  }
  Status CancelJob(ServerContext*, const v1::CancelJobRequest* q, v1::Job* a) override {
    return Answer(fake_.cancel_job, *q, *a);
  }
  Status WatchJob(ServerContext*, const v1::WatchJobRequest* q,
                  ServerWriter<v1::WatchJobResponse>* a) override {
    return Answer(fake_.watch_job, *q, *a);
  }
  Status BatchCreateJobs(ServerContext*, const v1::BatchCreateJobsRequest* q,
                         v1::BatchCreateJobsResponse* a) override {
    return Answer(fake_.batch_create_jobs, *q, *a);
  }
  Status UpdateJob(ServerContext*, const v1::UpdateJobRequest* q, v1::Job* a) override {
    return Answer(fake_.update_job, *q, *a);
  }
  Status PauseJob(ServerContext*, const v1::PauseJobRequest* q, v1::Job* a) override {
    return Answer(fake_.pause_job, *q, *a);
  }
  Status ResumeJob(ServerContext*, const v1::ResumeJobRequest* q, v1::Job* a) override {
    return Answer(fake_.resume_job, *q, *a);
  }
  Status DeleteJob(ServerContext*, const v1::DeleteJobRequest* q, v1::Job* a) override {
    return Answer(fake_.delete_job, *q, *a);
  }
  Status CancelJobs(ServerContext*, const v1::CancelJobsRequest* q,
                    v1::CancelJobsResponse* a) override {
    return Answer(fake_.cancel_jobs, *q, *a);
  }
  Status WatchJobs(ServerContext*, const v1::WatchJobsRequest* q,
                   ServerWriter<v1::WatchJobsResponse>* a) override {
    return Answer(fake_.watch_jobs, *q, *a);
  }
  Status ExplainJob(ServerContext*, const v1::ExplainJobRequest* q,
                    v1::JobExplanation* a) override {
    return Answer(fake_.explain_job, *q, *a);
  }
  Status ListQueue(ServerContext*, const v1::ListQueueRequest* q,
                   v1::ListQueueResponse* a) override {
    return Answer(fake_.list_queue, *q, *a);
  }
  Status ReadLogs(ServerContext*, const v1::ReadLogsRequest* q,
                  ServerWriter<v1::ReadLogsResponse>* a) override {
    return Answer(fake_.read_logs, *q, *a);
  }
  Status ListMetrics(ServerContext*, const v1::ListMetricsRequest* q,
                     v1::ListMetricsResponse* a) override {
    return Answer(fake_.list_metrics, *q, *a);
  }
  Status ListFieldHealth(ServerContext*, const v1::ListFieldHealthRequest* q,
                         v1::ListFieldHealthResponse* a) override {
    return Answer(fake_.list_field_health, *q, *a);
  }

 private:
  FakeCluster& fake_;
};

class Datasets final : public v1::DatasetService::Service {
 public:
  explicit Datasets(FakeCluster& fake) : fake_(fake) {}
  Status CreateDataset(
      ServerContext*,
      grpc::ServerReaderWriter<v1::CreateDatasetResponse, v1::CreateDatasetRequest>* s) override {
    return Answer(fake_.create_dataset, *s);
  }
  Status GetDataset(ServerContext*, const v1::GetDatasetRequest* q, v1::Dataset* a) override {
    return Answer(fake_.get_dataset, *q, *a);
  }
  Status ListDatasets(ServerContext*, const v1::ListDatasetsRequest* q,
                      v1::ListDatasetsResponse* a) override {
    return Answer(fake_.list_datasets, *q, *a);
  }
  Status InspectDataset(ServerContext*, const v1::InspectDatasetRequest* q,
                        v1::DatasetInspection* a) override {
    return Answer(fake_.inspect_dataset, *q, *a);
  }

 private:
  FakeCluster& fake_;
};

class Checkpoints final : public v1::CheckpointService::Service {
 public:
  explicit Checkpoints(FakeCluster& fake) : fake_(fake) {}
  Status ListCheckpoints(ServerContext*, const v1::ListCheckpointsRequest* q,
                         v1::ListCheckpointsResponse* a) override {
    return Answer(fake_.list_checkpoints, *q, *a);
  }
  Status GetCheckpoint(ServerContext*, const v1::GetCheckpointRequest* q,
                       v1::Checkpoint* a) override {
    return Answer(fake_.get_checkpoint, *q, *a);
  }
  Status UpdateCheckpoint(ServerContext*, const v1::UpdateCheckpointRequest* q,
                          v1::Checkpoint* a) override {
    return Answer(fake_.update_checkpoint, *q, *a);
  }
  Status VerifyCheckpoint(ServerContext*, const v1::VerifyCheckpointRequest* q,
                          ServerWriter<v1::VerifyCheckpointResponse>* a) override {
    return Answer(fake_.verify_checkpoint, *q, *a);
  }
  Status DeleteCheckpoint(ServerContext*, const v1::DeleteCheckpointRequest* q,
                          v1::Checkpoint* a) override {
    return Answer(fake_.delete_checkpoint, *q, *a);
  }
  Status DeleteCheckpoints(ServerContext*, const v1::DeleteCheckpointsRequest* q,
                           v1::DeleteCheckpointsResponse* a) override {
    return Answer(fake_.delete_checkpoints, *q, *a);
  }
  Status CollectGarbage(ServerContext*, const v1::CollectGarbageRequest* q,
                        v1::CollectGarbageResponse* a) override {
    return Answer(fake_.collect_garbage, *q, *a);
  }
  Status UploadCheckpoint(ServerContext*,
                          grpc::ServerReaderWriter<v1::UploadCheckpointResponse,
                                                   v1::UploadCheckpointRequest>* s) override {
    return Answer(fake_.upload_checkpoint, *s);
  }
  Status DiffCheckpoints(ServerContext*, const v1::DiffCheckpointsRequest* q,
                         v1::DiffCheckpointsResponse* a) override {
    return Answer(fake_.diff_checkpoints, *q, *a);
  }
  Status GetLineage(ServerContext*, const v1::GetLineageRequest* q, v1::Lineage* a) override {
    return Answer(fake_.get_lineage, *q, *a);
  }
  Status DownloadCheckpoint(ServerContext*, const v1::DownloadCheckpointRequest* q,
                            ServerWriter<v1::DownloadCheckpointResponse>* a) override {
    return Answer(fake_.download_checkpoint, *q, *a);
  }

 private:
  FakeCluster& fake_;
};

class Inference final : public v1::InferenceService::Service {
 public:
  explicit Inference(FakeCluster& fake) : fake_(fake) {}
  Status Evaluate(ServerContext*, const v1::EvaluateRequest* q,
                  ServerWriter<v1::InferenceOutput>* a) override {
    return Answer(fake_.evaluate, *q, *a);
  }
  Status Generate(ServerContext*, const v1::GenerateRequest* q,
                  ServerWriter<v1::InferenceOutput>* a) override {
    return Answer(fake_.generate, *q, *a);
  }
  Status AuditCausality(ServerContext*, const v1::AuditCausalityRequest* q,
                        ServerWriter<v1::InferenceOutput>* a) override {
    return Answer(fake_.audit_causality, *q, *a);
  }

 private:
  FakeCluster& fake_;
};

class Workers final : public v1::WorkerService::Service {
 public:
  explicit Workers(FakeCluster& fake) : fake_(fake) {}
  Status ListWorkers(ServerContext*, const v1::ListWorkersRequest* q,
                     v1::ListWorkersResponse* a) override {
    return Answer(fake_.list_workers, *q, *a);
  }
  Status CordonWorker(ServerContext*, const v1::CordonWorkerRequest* q, v1::Worker* a) override {
    return Answer(fake_.cordon_worker, *q, *a);
  }
  Status UncordonWorker(ServerContext*, const v1::UncordonWorkerRequest* q,
                        v1::Worker* a) override {
    return Answer(fake_.uncordon_worker, *q, *a);
  }
  Status DrainWorker(ServerContext*, const v1::DrainWorkerRequest* q, v1::Worker* a) override {
    return Answer(fake_.drain_worker, *q, *a);
  }

 private:
  FakeCluster& fake_;
};

class Audits final : public v1::AuditService::Service {
 public:
  explicit Audits(FakeCluster& fake) : fake_(fake) {}
  Status ListAuditEntries(ServerContext*, const v1::ListAuditEntriesRequest* q,
                          v1::ListAuditEntriesResponse* a) override {
    return Answer(fake_.list_audit_entries, *q, *a);
  }

 private:
  FakeCluster& fake_;
};

}  // namespace

FakeCluster::FakeCluster() {
  services_.push_back(std::make_unique<Jobs>(*this));
  services_.push_back(std::make_unique<Datasets>(*this));
  services_.push_back(std::make_unique<Checkpoints>(*this));
  services_.push_back(std::make_unique<Inference>(*this));
  services_.push_back(std::make_unique<Workers>(*this));
  services_.push_back(std::make_unique<Audits>(*this));
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  for (const auto& service : services_) builder.RegisterService(service.get());
  server_ = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
}

FakeCluster::~FakeCluster() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

}  // namespace wavefield
