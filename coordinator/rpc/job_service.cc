// Jobs come into being, and are looked at.
#include "coordinator/rpc/job_service.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "coordinator/admission/admission.h"
#include "coordinator/admission/references.h"
#include "coordinator/cluster/random_id.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/rpc/job_fields.h"
#include "coordinator/rpc/requests.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxBatch = 1000;

std::string GeneratedId(const v1::JobSpec& spec) {
  std::string stem = spec.model().preset().empty() ? "job" : spec.model().preset();
  if (!IsResourceId(stem)) stem = "job";
  return stem.substr(0, 50) + "-" + RandomHex(6);
}

// Directories of a job that had this name before may still be there, or about to be removed.
absl::StatusOr<std::string> FreeCheckpointDirectory(StoreReader& reader,
                                                    const std::filesystem::path& storage_root,
                                                    const std::string& id, const std::string& uid) {
  std::string directory = "checkpoints/" + id;
  WF_ASSIGN_OR_RETURN(const bool goes, reader.IsDeletionPendingIn(directory));
  std::error_code error;
  const bool taken = goes || std::filesystem::exists(storage_root / directory, error);
  return taken ? directory + "." + uid.substr(0, 8) : directory;
}

// The violations of one request of a batch, named as fields of the batch.
void TakeViolations(const absl::Status& status, int index,
                    std::vector<FieldViolation>& violations) {
  const google::rpc::BadRequest details = BadRequestOf(status);
  for (const auto& violation : details.field_violations()) {
    const bool of_spec = violation.field() != "job_id";
    violations.push_back(
        {fmt::format("requests[{}].{}{}", index, of_spec ? "spec." : "", violation.field()),
         violation.description()});
  }
}

}  // namespace

absl::Status JobService::Insert(Transaction& transaction, JobRecord& record) {
  v1::Job& job = *record.mutable_job();
  const bool generated = job.name().empty();
  for (bool free = false; !free;) {
    if (generated) job.set_name("jobs/" + GeneratedId(job.spec()));
    const absl::Status existing = transaction.GetJob(JobId(record)).status();
    if (existing.ok() && !generated) {
      return absl::AlreadyExistsError(
          fmt::format("the job {} exists already; take another job_id", job.name()));
    }
    if (!existing.ok() && !absl::IsNotFound(existing)) return existing;
    free = !existing.ok();
  }
  WF_RETURN_IF_ERROR(CheckReferencesAgain(transaction, record));
  const std::string id = JobId(record);
  job.set_uid(RandomHex(32));
  // So that ids of tasks do not come again, whatever had the job's name (as far back as deletions
  // are remembered).
  WF_ASSIGN_OR_RETURN(const int64_t last_epoch, transaction.LastEpochOfDeleted(id));
  job.set_epoch(last_epoch + 1);
  WF_ASSIGN_OR_RETURN(*record.mutable_checkpoint_directory(),
                      FreeCheckpointDirectory(transaction, context_.storage_root, id, job.uid()));
  WF_RETURN_IF_ERROR(transaction.PutJob(record));
  const LogScope about({.job = id});
  spdlog::info("{} is queued", job.name());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::CreateJob(grpc::CallbackServerContext* call,
                                                const v1::CreateJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] { return Create(*request, *response); });
}

absl::Status JobService::Create(const v1::CreateJobRequest& request, v1::Job& response) {
  const std::string hash = PayloadHash(request);
  const AdmissionFacts facts{context_.cluster.Workers(), context_.storage_root, {}};
  bool answered = false;
  JobRecord record;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(answered,
                        FindAnswer(reader, "CreateJob", request.request_id(), hash, response));
    if (answered) return absl::OkStatus();
    WF_ASSIGN_OR_RETURN(record, AdmitJob(request, reader, facts, context_.clock.Now()));
    return absl::OkStatus();
  }));
  if (answered) return absl::OkStatus();
  if (request.validate_only()) {
    response = record.job();
    return absl::OkStatus();
  }
  return Change("CreateJob", request, request.request_id(), response,
                [&](Transaction& transaction) -> absl::Status {
                  WF_RETURN_IF_ERROR(Insert(transaction, record));
                  response = record.job();
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobService::BatchCreateJobs(grpc::CallbackServerContext* call,
                                                      const v1::BatchCreateJobsRequest* request,
                                                      v1::BatchCreateJobsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return BatchCreate(*request, *response); });
}

absl::StatusOr<std::vector<JobRecord>> JobService::AdmitBatch(
    const v1::BatchCreateJobsRequest& request, StoreReader& reader) {
  AdmissionFacts facts{context_.cluster.Workers(), context_.storage_root, {}};
  std::vector<JobRecord> records;
  std::vector<FieldViolation> violations;
  for (int i = 0; i < request.requests_size(); ++i) {
    const v1::CreateJobRequest& one = request.requests(i);
    const auto refuse = [&](const char* field, const std::string& description) {
      violations.push_back({fmt::format("requests[{}].{}", i, field), description});
    };
    if (!one.request_id().empty()) refuse("request_id", "is set; the batch has one for all");
    if (one.validate_only()) refuse("validate_only", "is set; the batch has one for all");
    auto record = AdmitJob(one, reader, facts, context_.clock.Now());
    if (record.ok()) {
      records.push_back(*std::move(record));
    } else if (absl::IsInvalidArgument(record.status())) {
      TakeViolations(record.status(), i, violations);
    } else {
      return record.status();
    }
    if (one.job_id().empty()) continue;
    const bool taken = reader.GetJob(one.job_id()).ok();
    if (taken) refuse("job_id", fmt::format("is '{}', which exists already", one.job_id()));
    // Jobs of the batch may wait for those before them.
    if (!facts.created_along.insert(one.job_id()).second) {
      refuse("job_id", fmt::format("is '{}', as of another request here", one.job_id()));
    }
  }
  WF_RETURN_IF_ERROR(ViolationsToStatus(violations));
  return records;
}

absl::Status JobService::BatchCreate(const v1::BatchCreateJobsRequest& request,
                                     v1::BatchCreateJobsResponse& response) {
  if (request.requests_size() < 1 || request.requests_size() > kMaxBatch) {
    return InvalidField("requests", fmt::format("has {} entries; allowed: 1 to {}",
                                                request.requests_size(), kMaxBatch));
  }
  const std::string hash = PayloadHash(request);
  const std::string& retry = request.request_id();
  bool answered = false;
  std::vector<JobRecord> records;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(answered, FindAnswer(reader, "BatchCreateJobs", retry, hash, response));
    if (answered) return absl::OkStatus();
    WF_ASSIGN_OR_RETURN(records, AdmitBatch(request, reader));
    return absl::OkStatus();
  }));
  if (answered) return absl::OkStatus();
  if (request.validate_only()) {
    AddJobs(records, context_.clock.Now(), *response.mutable_jobs());
    return absl::OkStatus();
  }
  return Change("BatchCreateJobs", request, retry, response,
                [&](Transaction& transaction) -> absl::Status {
                  for (JobRecord& record : records) {
                    WF_RETURN_IF_ERROR(Insert(transaction, record));
                  }
                  AddJobs(records, context_.clock.Now(), *response.mutable_jobs());
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobService::GetJob(grpc::CallbackServerContext* call,
                                             const v1::GetJobRequest* request, v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request->name()));
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(JobRecord record, reader.GetJob(id));
      *response = Shown(std::move(record), context_.clock.Now());
      return absl::OkStatus();
    });
  });
}

}  // namespace wavefield::coordinator
