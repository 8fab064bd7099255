#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/inference_service.grpc.pb.h"

namespace wavefield::coordinator {

class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  explicit InferenceService(ServiceContext& context) : context_(context) {}

  grpc::ServerWriteReactor<v1::InferenceOutput>* Evaluate(
      grpc::CallbackServerContext* call, const v1::EvaluateRequest* request) override;
  grpc::ServerWriteReactor<v1::InferenceOutput>* Generate(
      grpc::CallbackServerContext* call, const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::InferenceOutput>* AuditCausality(
      grpc::CallbackServerContext* call, const v1::AuditCausalityRequest* request) override;

 private:
  // Streams what the task of this request gives, or why there is none.
  template <typename Request>
  grpc::ServerWriteReactor<v1::InferenceOutput>* Start(
      const Request& request,
      absl::StatusOr<v1::InferenceTask> (InferenceService::*make_task)(const Request&));
  absl::StatusOr<v1::InferenceTask> EvaluationTask(const v1::EvaluateRequest& request);
  absl::StatusOr<v1::InferenceTask> GenerationTask(const v1::GenerateRequest& request);
  absl::StatusOr<v1::InferenceTask> AuditTask(const v1::AuditCausalityRequest& request);
  // Makes `name` the full name of a dataset, the job's own if it is empty. Returns the dataset's
  // directory.
  absl::StatusOr<std::string> ResolveDataset(StoreReader& reader, const JobRecord& job,
                                             std::string& name);
  absl::Status RunTask(const v1::InferenceTask& task, StreamWriter<v1::InferenceOutput>& stream);

  ServiceContext& context_;
};

}  // namespace wavefield::coordinator
