#include "coordinator/rpc/inference_service.h"

#include <fmt/format.h>

#include <algorithm>

#include "coordinator/admission/admission.h"
#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxGeneratedTokens = 1'000'000;
constexpr int kMaxTokenIds = 1 << 20;
constexpr int kMaxSequenceLength = 1 << 24;
constexpr size_t kMaxPromptBytes = 1 << 20;
constexpr int kMaxAuditWindows = 64;
constexpr int kMaxAuditLength = 4096;
constexpr int kMaxAuditChanges = 256;

const std::string& CheckpointOf(const v1::InferenceTask& task) {
  if (task.has_audit_causality()) return task.audit_causality().checkpoint();
  return task.has_generate() ? task.generate().checkpoint() : task.evaluate().checkpoint();
}

// 0 stands for the default.
void CheckCount(const char* field, int value, int lowest, int highest,
                std::vector<FieldViolation>& violations) {
  if (value == 0 || (value >= lowest && value <= highest)) return;
  violations.push_back({field, fmt::format("is {}; allowed: {} to {}, or 0 for the default", value,
                                           lowest, highest)});
}

}  // namespace

template <typename Request>
grpc::ServerWriteReactor<v1::InferenceOutput>* InferenceService::Start(
    const Request& request,
    absl::StatusOr<v1::InferenceTask> (InferenceService::*make_task)(const Request&)) {
  using Stream = StreamWriter<v1::InferenceOutput>;
  return BlockingWriteReactor<v1::InferenceOutput>::Run(
      context_.streams, [this, request, make_task](Stream& stream) -> absl::Status {
        WF_ASSIGN_OR_RETURN(const v1::InferenceTask task, (this->*make_task)(request));
        return RunTask(task, stream);
      });
}

grpc::ServerWriteReactor<v1::InferenceOutput>* InferenceService::Evaluate(
    grpc::CallbackServerContext*, const v1::EvaluateRequest* request) {
  return Start(*request, &InferenceService::EvaluationTask);
}

grpc::ServerWriteReactor<v1::InferenceOutput>* InferenceService::Generate(
    grpc::CallbackServerContext*, const v1::GenerateRequest* request) {
  return Start(*request, &InferenceService::GenerationTask);
}

grpc::ServerWriteReactor<v1::InferenceOutput>* InferenceService::AuditCausality(
    grpc::CallbackServerContext*, const v1::AuditCausalityRequest* request) {
  return Start(*request, &InferenceService::AuditTask);
}

absl::StatusOr<std::string> InferenceService::ResolveDataset(StoreReader& reader,
                                                             const JobRecord& job,
                                                             std::string& name) {
  if (name.empty()) name = job.job().spec().dataset();
  if (name.rfind("datasets/", 0) != 0) name = "datasets/" + name;
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("datasets", name));
  WF_ASSIGN_OR_RETURN(const DatasetRecord dataset, reader.GetDataset(id));
  if (dataset.dataset().validation_tokens() < 2) {
    return InvalidField(
        "dataset",
        fmt::format("{} has {} tokens of held-out text, and 2 are needed; name another one", name,
                    dataset.dataset().validation_tokens()));
  }
  WF_RETURN_IF_ERROR(CheckDatasetFiles(dataset, context_.storage_root));
  return dataset.dataset().directory();
}

absl::StatusOr<v1::InferenceTask> InferenceService::AuditTask(
    const v1::AuditCausalityRequest& request) {
  std::vector<FieldViolation> violations;
  CheckCount("windows", request.windows(), 1, kMaxAuditWindows, violations);
  CheckCount("sequence_length", request.sequence_length(), 2, kMaxAuditLength, violations);
  CheckCount("changes_per_window", request.changes_per_window(), 1, kMaxAuditChanges, violations);
  WF_RETURN_IF_ERROR(ViolationsToStatus(violations));
  v1::InferenceTask task;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint,
                        ResolveCheckpoint(reader, request.checkpoint()));
    WF_ASSIGN_OR_RETURN(const JobRecord job, reader.GetJob(JobOfCheckpoint(checkpoint.name())));
    task.set_checkpoint_directory(checkpoint.directory());
    v1::AuditCausalityRequest& audit = *task.mutable_audit_causality();
    audit = request;
    audit.set_checkpoint(checkpoint.name());
    WF_ASSIGN_OR_RETURN(*task.mutable_dataset_directory(),
                        ResolveDataset(reader, job, *audit.mutable_dataset()));
    return absl::OkStatus();
  }));
  return task;
}

absl::StatusOr<v1::InferenceTask> InferenceService::EvaluationTask(
    const v1::EvaluateRequest& request) {
  std::vector<FieldViolation> violations;
  if (request.max_tokens() < 0) {
    violations.push_back(
        {"max_tokens", fmt::format("is {}; allowed: 0 and up", request.max_tokens())});
  }
  if (request.token_ids_size() == 1 || request.token_ids_size() > kMaxTokenIds) {
    violations.push_back({"token_ids", fmt::format("has {}; allowed: 0 or 2 to {}",
                                                   request.token_ids_size(), kMaxTokenIds)});
  }
  if (std::any_of(request.token_ids().begin(), request.token_ids().end(),
                  [](int id) { return id < 0; })) {
    violations.push_back({"token_ids", "has a negative id"});
  }
  if (request.sequence_length() < 0 || request.sequence_length() > kMaxSequenceLength) {
    violations.push_back(
        {"sequence_length", fmt::format("is {}; allowed: 1 to {}, or 0 for the job's own",
                                        request.sequence_length(), kMaxSequenceLength)});
  }
  WF_RETURN_IF_ERROR(ViolationsToStatus(violations));
  v1::InferenceTask task;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint,
                        ResolveCheckpoint(reader, request.checkpoint()));
    WF_ASSIGN_OR_RETURN(const JobRecord job, reader.GetJob(JobOfCheckpoint(checkpoint.name())));
    task.set_checkpoint_directory(checkpoint.directory());
    v1::EvaluateRequest& evaluate = *task.mutable_evaluate();
    evaluate = request;
    evaluate.set_checkpoint(checkpoint.name());
    if (evaluate.sequence_length() == 0) {
      evaluate.set_sequence_length(job.job().spec().training().sequence_length());
    }
    if (!evaluate.token_ids().empty()) return absl::OkStatus();
    WF_ASSIGN_OR_RETURN(*task.mutable_dataset_directory(),
                        ResolveDataset(reader, job, *evaluate.mutable_dataset()));
    return absl::OkStatus();
  }));
  return task;
}

absl::StatusOr<v1::InferenceTask> InferenceService::GenerationTask(
    const v1::GenerateRequest& request) {
  std::vector<FieldViolation> violations;
  if (request.max_tokens() < 1 || request.max_tokens() > kMaxGeneratedTokens) {
    violations.push_back({"max_tokens", fmt::format("is {}; allowed: 1 to {}", request.max_tokens(),
                                                    kMaxGeneratedTokens)});
  }
  if (!(request.temperature() >= 0 && request.temperature() <= 100)) {
    violations.push_back(
        {"temperature", fmt::format("is {}; allowed: 0 to 100", request.temperature())});
  }
  if (request.prompt().size() > kMaxPromptBytes) {
    violations.push_back({"prompt", fmt::format("has {} bytes; at most {} are allowed",
                                                request.prompt().size(), kMaxPromptBytes)});
  }
  WF_RETURN_IF_ERROR(ViolationsToStatus(violations));
  v1::InferenceTask task;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint,
                        ResolveCheckpoint(reader, request.checkpoint()));
    task.set_checkpoint_directory(checkpoint.directory());
    *task.mutable_generate() = request;
    task.mutable_generate()->set_checkpoint(checkpoint.name());
    return absl::OkStatus();
  }));
  return task;
}

absl::Status InferenceService::RunTask(const v1::InferenceTask& task,
                                       StreamWriter<v1::InferenceOutput>& stream) {
  WF_ASSIGN_OR_RETURN(const HeldCheckpoint held,
                      HoldCheckpoint(context_.store, context_.cluster.checkpoint_reads(),
                                     CheckpointOf(task), "evaluations, generations or audits"));
  WF_ASSIGN_OR_RETURN(const auto session, context_.cluster.StartInference(task));
  absl::Status status;
  while (true) {
    if (stream.cancelled()) {
      status = absl::CancelledError("the call was ended");
      break;
    }
    if (const auto output = session->Next(kStreamPoll)) {
      stream.Write(*output);
    } else if (const auto ended = session->ended()) {
      status = *ended;
      break;
    }
  }
  context_.cluster.ReleaseInference(session);
  return status;
}

}  // namespace wavefield::coordinator
