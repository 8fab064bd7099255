#include "coordinator/rpc/job_service.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>

#include "coordinator/admission/admission.h"
#include "coordinator/cluster/random_id.h"
#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/lifecycle.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int kWatchPoints = 500;

absl::StatusOr<std::optional<v1::JobState>> StateOfFilter(const std::string& filter) {
  if (filter.empty()) return std::optional<v1::JobState>();
  const std::string prefix = "state=";
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  if (filter.rfind(prefix, 0) == 0) {
    std::string name = filter.substr(prefix.size());
    if (name.rfind("JOB_STATE_", 0) != 0) name = "JOB_STATE_" + name;
    if (v1::JobState_Parse(name, &state) && state != v1::JOB_STATE_UNSPECIFIED)
      return std::optional(state);
  }
  return InvalidField("filter",
                      fmt::format("is '{}'; allowed: empty, or state= and one of QUEUED, STARTING, "
                                  "RUNNING, STOPPING, SUCCEEDED, FAILED, CANCELLED",
                                  Shortened(filter, 80)));
}

absl::StatusOr<int64_t> NumberOf(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidField("page_token", "was not given out for this list");
  }
  return number;
}

// The job as people see it at `now`.
v1::Job Shown(JobRecord record, absl::Time now) {
  v1::Job job = record.job();
  *job.mutable_goodput() = GoodputAt(std::move(record), now);
  return job;
}

std::string GeneratedId(const v1::JobSpec& spec) {
  std::string stem = spec.model().preset().empty() ? "job" : spec.model().preset();
  if (!IsResourceId(stem)) stem = "job";
  return stem.substr(0, 50) + "-" + RandomHex(6);
}

}  // namespace

grpc::ServerUnaryReactor* JobService::CreateJob(grpc::CallbackServerContext* call,
                                                const v1::CreateJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] { return Create(*request, *response); });
}

absl::Status JobService::Create(const v1::CreateJobRequest& request, v1::Job& response) {
  const std::string hash = PayloadHash(request);
  const AdmissionFacts facts{context_.cluster.Workers(), context_.storage_root};
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
  const std::string id = request.job_id().empty() ? GeneratedId(request.spec()) : request.job_id();
  record.mutable_job()->set_name("jobs/" + id);
  record.mutable_job()->set_uid(RandomHex(32));
  record.set_checkpoint_directory("checkpoints/" + id);
  return context_.store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(answered,
                        FindAnswer(transaction, "CreateJob", request.request_id(), hash, response));
    if (answered) return absl::OkStatus();
    const absl::Status existing = transaction.GetJob(id).status();
    if (existing.ok()) {
      return absl::AlreadyExistsError(
          fmt::format("the job jobs/{} exists already; take another job_id", id));
    }
    if (!absl::IsNotFound(existing)) return existing;
    WF_RETURN_IF_ERROR(transaction.PutJob(record));
    response = record.job();
    const LogScope about({.job = id});
    spdlog::info("{} is queued", response.name());
    return KeepAnswer(transaction, "CreateJob", request.request_id(), hash, response,
                      context_.clock.Now());
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

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* call,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return List(*request, *response); });
}

absl::Status JobService::List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
  JobQuery query;
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  query.limit = size + 1;
  WF_ASSIGN_OR_RETURN(query.state, StateOfFilter(request.filter()));
  const std::string scope = "jobs?" + request.filter();
  WF_ASSIGN_OR_RETURN(const std::string position, ParsePageToken(scope, request.page_token()));
  if (!position.empty()) {
    WF_ASSIGN_OR_RETURN(query.before_create_revision, NumberOf(position));
  }
  std::vector<JobRecord> records;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(records, reader.ListJobs(query));
    return absl::OkStatus();
  }));
  if (records.size() > static_cast<size_t>(size)) {
    records.pop_back();
    response.set_next_page_token(
        MakePageToken(scope, std::to_string(records.back().create_revision())));
  }
  for (JobRecord& record : records) {
    *response.add_jobs() = Shown(std::move(record), context_.clock.Now());
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext* call,
                                                const v1::CancelJobRequest* request,
                                                v1::Job* response) {
  return RunUnary(call, context_.calls, [=, this] { return Cancel(*request, *response); });
}

absl::Status JobService::Cancel(const v1::CancelJobRequest& request, v1::Job& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.name()));
  const std::string hash = PayloadHash(request);
  return context_.store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const bool answered,
                        FindAnswer(transaction, "CancelJob", request.request_id(), hash, response));
    if (answered) return absl::OkStatus();
    WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id));
    if (!HasEnded(record.job().state()) && !record.cancel_requested()) {
      RequestCancel(record, context_.clock.Now());
      WF_RETURN_IF_ERROR(transaction.PutJob(record));
    }
    response = record.job();
    return KeepAnswer(transaction, "CancelJob", request.request_id(), hash, response,
                      context_.clock.Now());
  });
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobService::WatchJob(
    grpc::CallbackServerContext*, const v1::WatchJobRequest* request) {
  using Reactor = BlockingWriteReactor<v1::WatchJobResponse>;
  return Reactor::Run(context_.streams,
                      [=, this, request = *request](StreamWriter<v1::WatchJobResponse>& stream) {
                        return Watch(request, stream);
                      });
}

// The store is read again whenever the job may have changed: a slow reader gets fewer, fuller
// messages.
absl::Status JobService::Watch(const v1::WatchJobRequest& request,
                               StreamWriter<v1::WatchJobResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.name()));
  const bool from_now = request.from_revision() == 0 && !request.include_history();
  int64_t position = request.include_history() ? 0 : request.from_revision();
  int64_t job_revision = -1;
  const OpenWatch open(context_.metrics);
  const auto signal = context_.cluster.signals().Get("jobs/" + id);
  while (!stream.cancelled()) {
    const uint64_t seen = signal->version();
    v1::Job job;
    History history;
    WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(JobRecord record, reader.GetJob(id));
      job = Shown(std::move(record), context_.clock.Now());
      if (from_now && job_revision < 0) position = job.revision();
      WF_ASSIGN_OR_RETURN(history, reader.HistoryAfterRevision(id, position, kWatchPoints));
      return absl::OkStatus();
    }));
    v1::WatchJobResponse response;
    if (!history.more) {
      position = std::max({position, history.revision, job.revision()});
    } else {
      position = history.revision;
    }
    response.set_revision(position);
    const bool ended = HasEnded(job.state());
    if (job.revision() != job_revision) {
      job_revision = job.revision();
      *response.mutable_job() = std::move(job);
    }
    response.mutable_steps()->Assign(history.steps.begin(), history.steps.end());
    response.mutable_evaluations()->Assign(history.evaluations.begin(), history.evaluations.end());
    const bool news = response.has_job() || !history.steps.empty() || !history.evaluations.empty();
    if (news && !stream.Write(response)) break;
    if (history.more) continue;
    if (ended) return absl::OkStatus();
    if (!news) signal->WaitPast(seen, kStreamPoll);
  }
  return absl::CancelledError("the watch was ended");
}

grpc::ServerUnaryReactor* JobService::ListMetrics(grpc::CallbackServerContext* call,
                                                  const v1::ListMetricsRequest* request,
                                                  v1::ListMetricsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return Metrics(*request, *response); });
}

absl::Status JobService::Metrics(const v1::ListMetricsRequest& request,
                                 v1::ListMetricsResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.parent()));
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 1000, 10000));
  if (request.stride() < 0) {
    return InvalidField("stride", fmt::format("is {}; allowed: 0 and up", request.stride()));
  }
  const std::string scope = fmt::format("{}/metrics?{}", request.parent(), request.stride());
  WF_ASSIGN_OR_RETURN(const std::string token, ParsePageToken(scope, request.page_token()));
  HistoryPosition position{request.after_step(), INT32_MAX};
  if (!token.empty()) {
    const size_t comma = std::min(token.find(','), token.size());
    WF_ASSIGN_OR_RETURN(position.step, NumberOf(token.substr(0, comma)));
    WF_ASSIGN_OR_RETURN(const int64_t attempt,
                        NumberOf(comma < token.size() ? token.substr(comma + 1) : ""));
    position.attempt = static_cast<int32_t>(attempt);
  }
  return context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_RETURN_IF_ERROR(reader.GetJob(id).status());
    WF_ASSIGN_OR_RETURN(auto steps, reader.ListSteps(id, position, request.stride(), size + 1));
    int64_t last = INT64_MAX;
    if (steps.size() > static_cast<size_t>(size)) {
      steps.pop_back();
      last = steps.back().step();
      response.set_next_page_token(
          MakePageToken(scope, fmt::format("{},{}", last, steps.back().attempt())));
    }
    WF_ASSIGN_OR_RETURN(const auto evaluations, reader.ListEvaluations(id, position.step, last));
    response.mutable_steps()->Assign(steps.begin(), steps.end());
    response.mutable_evaluations()->Assign(evaluations.begin(), evaluations.end());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobService::ListFieldHealth(grpc::CallbackServerContext* call,
                                                      const v1::ListFieldHealthRequest* request,
                                                      v1::ListFieldHealthResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return FieldHealth(*request, *response); });
}

absl::Status JobService::FieldHealth(const v1::ListFieldHealthRequest& request,
                                     v1::ListFieldHealthResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.parent()));
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 8, 8));
  const std::string scope = request.parent() + "/field_health";
  WF_ASSIGN_OR_RETURN(const std::string token, ParsePageToken(scope, request.page_token()));
  int64_t before = INT64_MAX;
  if (!token.empty()) {
    WF_ASSIGN_OR_RETURN(before, NumberOf(token));
  }
  return context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_RETURN_IF_ERROR(reader.GetJob(id).status());
    WF_ASSIGN_OR_RETURN(auto points, reader.ListFieldHealth(id, before, size + 1));
    if (points.size() > static_cast<size_t>(size)) {
      points.pop_back();
      response.set_next_page_token(MakePageToken(scope, std::to_string(points.back().first)));
    }
    for (auto& [revision, point] : points) *response.add_points() = std::move(point);
    return absl::OkStatus();
  });
}

}  // namespace wavefield::coordinator
