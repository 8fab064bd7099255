// What is done to jobs that there are.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "coordinator/admission/references.h"
#include "coordinator/jobs/job_deletion.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/job_update.h"
#include "coordinator/jobs/lifecycle.h"
#include "coordinator/metrics/label_values.h"
#include "coordinator/rpc/job_fields.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/requests.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

absl::Status CheckPausable(const JobRecord& record) {
  const v1::Job& job = record.job();
  if (!HasEnded(job.state()) && !record.cancel_requested()) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{} {}: it cannot be paused", job.name(),
      record.cancel_requested() && !HasEnded(job.state()) ? "is being cancelled" : "has ended"));
}

absl::Status CheckResumable(StoreReader& reader, const JobRecord& record) {
  const v1::Job& job = record.job();
  if (job.reason() == v1::JOB_REASON_UPLOADED) {
    return absl::FailedPreconditionError(
        fmt::format("{} holds uploaded checkpoints and has nothing to train; start a job with "
                    "init_from",
                    job.name()));
  }
  if (HasEnded(job.state()) && BudgetIsUsedUp(record)) {
    return absl::FailedPreconditionError(
        fmt::format("{} has used up its budget, at step {} of {}: give it a larger one first "
                    "(spec.training.max_steps or spec.training.max_minutes)",
                    job.name(), job.last_step().step(),
                    job.max_steps() > 0 ? std::to_string(job.max_steps()) : "any"));
  }
  // Without a checkpoint of its own it starts from the same weights as before.
  return job.latest_checkpoint().empty() ? CheckInitFromAgain(reader, record) : absl::OkStatus();
}

}  // namespace

absl::Status JobService::Change(const char* method, const google::protobuf::Message& request,
                                const std::string& request_id, google::protobuf::Message& response,
                                const std::function<absl::Status(Transaction&)>& work) {
  return WriteOnce(context_.store, context_.clock, method, request, request_id, response, work);
}

absl::Status JobService::ChangeJob(
    const char* method, const google::protobuf::Message& request, const std::string& name,
    const std::string& request_id, v1::Job& response,
    const std::function<absl::StatusOr<bool>(Transaction&, JobRecord&)>& change) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", name));
  return Change(method, request, request_id, response,
                [&](Transaction& transaction) -> absl::Status {
                  WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id));
                  WF_ASSIGN_OR_RETURN(const bool changed, change(transaction, record));
                  if (changed) WF_RETURN_IF_ERROR(transaction.PutJob(record));
                  response = Shown(std::move(record), context_.clock.Now());
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobService::UpdateJob(grpc::CallbackServerContext* call,
                                                const v1::UpdateJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return ChangeJob("UpdateJob", *request, request->job().name(), request->request_id(), *response,
                     [&](Transaction&, JobRecord& record) -> absl::StatusOr<bool> {
                       WF_RETURN_IF_ERROR(ApplyUpdate(*request, record));
                       return true;
                     });
  });
}

grpc::ServerUnaryReactor* JobService::PauseJob(grpc::CallbackServerContext* call,
                                               const v1::PauseJobRequest* request,
                                               v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return ChangeJob("PauseJob", *request, request->name(), request->request_id(), *response,
                     [&](Transaction&, JobRecord& record) -> absl::StatusOr<bool> {
                       WF_RETURN_IF_ERROR(CheckPausable(record));
                       if (record.job().reason() == v1::JOB_REASON_PAUSED_BY_USER) return false;
                       RequestPause(record, context_.clock.Now());
                       return true;
                     });
  });
}

grpc::ServerUnaryReactor* JobService::ResumeJob(grpc::CallbackServerContext* call,
                                                const v1::ResumeJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return ChangeJob(
        "ResumeJob", *request, request->name(), request->request_id(), *response,
        [&](Transaction& transaction, JobRecord& record) -> absl::StatusOr<bool> {
          const v1::Job& job = record.job();
          if (!HasEnded(job.state()) && job.reason() != v1::JOB_REASON_PAUSED_BY_USER) {
            return false;
          }
          WF_RETURN_IF_ERROR(CheckResumable(transaction, record));
          Resume(record, context_.clock.Now());
          return true;
        });
  });
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext* call,
                                                const v1::CancelJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return ChangeJob("CancelJob", *request, request->name(), request->request_id(), *response,
                     [&](Transaction&, JobRecord& record) -> absl::StatusOr<bool> {
                       if (HasEnded(record.job().state()) || record.cancel_requested())
                         return false;
                       RequestCancel(record, context_.clock.Now());
                       return true;
                     });
  });
}

grpc::ServerUnaryReactor* JobService::CancelJobs(grpc::CallbackServerContext* call,
                                                 const v1::CancelJobsRequest* request,
                                                 v1::CancelJobsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return CancelAll(*request, *response); });
}

absl::Status JobService::CancelAll(const v1::CancelJobsRequest& request,
                                   v1::CancelJobsResponse& response) {
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseJobFilter(request.filter()));
  if (filter.empty()) {
    return InvalidField("filter",
                        "is empty; state!=SUCCEEDED selects every job there is to cancel");
  }
  const auto select = [&](StoreReader& reader) -> absl::StatusOr<std::vector<JobRecord>> {
    WF_ASSIGN_OR_RETURN(std::vector<JobRecord> records, reader.LiveJobs());
    std::erase_if(records, [&](const JobRecord& record) {
      return HasEnded(record.job().state()) || !filter.Matches(LookUpIn(record.job()));
    });
    return records;
  };
  const absl::Time now = context_.clock.Now();
  if (request.validate_only()) {
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(const auto records, select(reader));
      AddJobs(records, now, *response.mutable_jobs());
      return absl::OkStatus();
    });
  }
  return Change("CancelJobs", request, request.request_id(), response,
                [&](Transaction& transaction) -> absl::Status {
                  WF_ASSIGN_OR_RETURN(auto records, select(transaction));
                  for (JobRecord& record : records) {
                    if (record.cancel_requested()) continue;
                    RequestCancel(record, now);
                    WF_RETURN_IF_ERROR(transaction.PutJob(record));
                  }
                  AddJobs(records, now, *response.mutable_jobs());
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* JobService::DeleteJob(grpc::CallbackServerContext* call,
                                                const v1::DeleteJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] { return Delete(*request, *response); });
}

absl::Status JobService::Delete(const v1::DeleteJobRequest& request, v1::Job& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.name()));
  const CheckpointReads& reads = context_.cluster.checkpoint_reads();
  if (request.validate_only()) {
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(JobRecord record, reader.GetJob(id));
      WF_RETURN_IF_ERROR(CheckDeletable(reader, reads, record));
      response = Shown(std::move(record), context_.clock.Now());
      return absl::OkStatus();
    });
  }
  bool deleted = false;
  WF_RETURN_IF_ERROR(Change("DeleteJob", request, request.request_id(), response,
                            [&](Transaction& transaction) -> absl::Status {
                              WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id));
                              WF_RETURN_IF_ERROR(CheckDeletable(transaction, reads, record));
                              WF_RETURN_IF_ERROR(DeleteJobAndCheckpoints(transaction, record));
                              deleted = true;
                              response = Shown(std::move(record), context_.clock.Now());
                              return absl::OkStatus();
                            }));
  if (!deleted) return absl::OkStatus();
  context_.logs.RemoveDetached();
  const LogScope about({.job = id});
  spdlog::info("{} was deleted", request.name());
  context_.cluster.signals().Notify(request.name());
  context_.cluster.signals().Notify(kJobsSignal);
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
