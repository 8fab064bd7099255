#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <mutex>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield::coordinator {

class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* call,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* CordonWorker(grpc::CallbackServerContext* call,
                                         const v1::CordonWorkerRequest* request,
                                         v1::Worker* response) override;
  grpc::ServerUnaryReactor* UncordonWorker(grpc::CallbackServerContext* call,
                                           const v1::UncordonWorkerRequest* request,
                                           v1::Worker* response) override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext* call,
                                        const v1::DrainWorkerRequest* request,
                                        v1::Worker* response) override;
  grpc::ServerUnaryReactor* RegisterWorker(grpc::CallbackServerContext* call,
                                           const v1::RegisterWorkerRequest* request,
                                           v1::RegisterWorkerResponse* response) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* call,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatResponse* response) override;
  grpc::ServerWriteReactor<v1::AssignmentList>* WatchAssignments(
      grpc::CallbackServerContext* call, const v1::WatchAssignmentsRequest* request) override;
  grpc::ServerUnaryReactor* ReportEvents(grpc::CallbackServerContext* call,
                                         const v1::ReportEventsRequest* request,
                                         v1::ReportEventsResponse* response) override;
  grpc::ServerUnaryReactor* ReportLogs(grpc::CallbackServerContext* call,
                                       const v1::ReportLogsRequest* request,
                                       v1::ReportLogsResponse* response) override;
  grpc::ServerUnaryReactor* SetRendezvous(grpc::CallbackServerContext* call,
                                          const v1::SetRendezvousRequest* request,
                                          v1::SetRendezvousResponse* response) override;
  grpc::ServerUnaryReactor* WaitRendezvous(grpc::CallbackServerContext* call,
                                           const v1::WaitRendezvousRequest* request,
                                           v1::WaitRendezvousResponse* response) override;

 private:
  absl::Status Register(const v1::RegisterWorkerRequest& request,
                        v1::RegisterWorkerResponse& response);
  // Changes what is kept of a worker, unless the request is a retry; the response is the worker.
  absl::Status ChangeWorker(const char* method, const google::protobuf::Message& request,
                            const std::string& name, const std::string& request_id,
                            const std::function<void(v1::Worker&)>& change, v1::Worker& response);
  absl::Status Report(const v1::ReportEventsRequest& request, v1::ReportEventsResponse& response);
  absl::Status TakeLogs(const v1::ReportLogsRequest& request, v1::ReportLogsResponse& response);
  absl::Status SetKey(const v1::SetRendezvousRequest& request);
  absl::Status WaitForKey(const v1::WaitRendezvousRequest& request,
                          const grpc::CallbackServerContext& call, std::string& value);
  // FAILED_PRECONDITION unless this epoch of the job is under way.
  absl::Status CheckEpoch(const std::string& job, int64_t epoch) const;

  ServiceContext& context_;
  // What is kept of a worker and what is in memory change together.
  std::mutex registration_;
};

}  // namespace wavefield::coordinator
