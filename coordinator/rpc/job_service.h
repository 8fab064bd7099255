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
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* call,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* call,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* call,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* call, const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* ListMetrics(grpc::CallbackServerContext* call,
                                        const v1::ListMetricsRequest* request,
                                        v1::ListMetricsResponse* response) override;
  grpc::ServerUnaryReactor* ListFieldHealth(grpc::CallbackServerContext* call,
                                            const v1::ListFieldHealthRequest* request,
                                            v1::ListFieldHealthResponse* response) override;

 private:
  absl::Status Create(const v1::CreateJobRequest& request, v1::Job& response);
  absl::Status List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response);
  absl::Status Cancel(const v1::CancelJobRequest& request, v1::Job& response);
  absl::Status Watch(const v1::WatchJobRequest& request,
                     StreamWriter<v1::WatchJobResponse>& stream);
  absl::Status Metrics(const v1::ListMetricsRequest& request, v1::ListMetricsResponse& response);
  absl::Status FieldHealth(const v1::ListFieldHealthRequest& request,
                           v1::ListFieldHealthResponse& response);

  ServiceContext& context_;
};

}  // namespace wavefield::coordinator
