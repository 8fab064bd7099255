#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield::coordinator {

class JobService final : public v1::JobService::CallbackService {
 public:
  explicit JobService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext* call,
                                      const v1::CreateJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* BatchCreateJobs(grpc::CallbackServerContext* call,
                                            const v1::BatchCreateJobsRequest* request,
                                            v1::BatchCreateJobsResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* call,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* call,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateJob(grpc::CallbackServerContext* call,
                                      const v1::UpdateJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* call,
                                     const v1::PauseJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* call,
                                      const v1::ResumeJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* DeleteJob(grpc::CallbackServerContext* call,
                                      const v1::DeleteJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* call,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* CancelJobs(grpc::CallbackServerContext* call,
                                       const v1::CancelJobsRequest* request,
                                       v1::CancelJobsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* call, const v1::WatchJobRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchJobsResponse>* WatchJobs(
      grpc::CallbackServerContext* call, const v1::WatchJobsRequest* request) override;
  grpc::ServerUnaryReactor* ExplainJob(grpc::CallbackServerContext* call,
                                       const v1::ExplainJobRequest* request,
                                       v1::JobExplanation* response) override;
  grpc::ServerUnaryReactor* ListQueue(grpc::CallbackServerContext* call,
                                      const v1::ListQueueRequest* request,
                                      v1::ListQueueResponse* response) override;
  grpc::ServerWriteReactor<v1::ReadLogsResponse>* ReadLogs(
      grpc::CallbackServerContext* call, const v1::ReadLogsRequest* request) override;
  grpc::ServerUnaryReactor* ListMetrics(grpc::CallbackServerContext* call,
                                        const v1::ListMetricsRequest* request,
                                        v1::ListMetricsResponse* response) override;
  grpc::ServerUnaryReactor* ListFieldHealth(grpc::CallbackServerContext* call,
                                            const v1::ListFieldHealthRequest* request,
                                            v1::ListFieldHealthResponse* response) override;

 private:
  absl::Status Create(const v1::CreateJobRequest& request, v1::Job& response);
  absl::Status List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response);
  absl::StatusOr<std::vector<JobRecord>> AdmitBatch(const v1::BatchCreateJobsRequest& request,
                                                    StoreReader& reader);
  absl::Status BatchCreate(const v1::BatchCreateJobsRequest& request,
                           v1::BatchCreateJobsResponse& response);
  // An admitted job; gives it what it lacks: id, uid and directory.
  absl::Status Insert(Transaction& transaction, JobRecord& record);
  // Runs `work`, which fills the response, unless the request is a retry.
  absl::Status Change(const char* method, const google::protobuf::Message& request,
                      const std::string& request_id, google::protobuf::Message& response,
                      const std::function<absl::Status(Transaction&)>& work);
  // … on one job; `change` says whether it changed the record.
  absl::Status ChangeJob(
      const char* method, const google::protobuf::Message& request, const std::string& name,
      const std::string& request_id, v1::Job& response,
      const std::function<absl::StatusOr<bool>(Transaction&, JobRecord&)>& change);
  absl::Status CancelAll(const v1::CancelJobsRequest& request, v1::CancelJobsResponse& response);
  absl::Status Delete(const v1::DeleteJobRequest& request, v1::Job& response);
  absl::Status Watch(const v1::WatchJobRequest& request,
                     StreamWriter<v1::WatchJobResponse>& stream);
  absl::Status WatchAll(const v1::WatchJobsRequest& request,
                        StreamWriter<v1::WatchJobsResponse>& stream);
  absl::Status Explain(const v1::ExplainJobRequest& request, v1::JobExplanation& response);
  absl::Status Queue(const v1::ListQueueRequest& request, v1::ListQueueResponse& response);
  absl::Status SendLogs(const v1::ReadLogsRequest& request,
                        StreamWriter<v1::ReadLogsResponse>& stream);
  absl::StatusOr<bool> LogsAreComplete(const std::string& id);
  absl::Status Metrics(const v1::ListMetricsRequest& request, v1::ListMetricsResponse& response);
  absl::Status FieldHealth(const v1::ListFieldHealthRequest& request,
                           v1::ListFieldHealthResponse& response);

  ServiceContext& context_;
};

}  // namespace wavefield::coordinator
