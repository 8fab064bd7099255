// Lists of jobs and of their history.
#include <fmt/format.h>

#include <charconv>

#include "coordinator/rpc/job_fields.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/page_order.h"
#include "coordinator/rpc/requests.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

// Of a page, whatever size was asked for: the rest is on the next one.
constexpr size_t kMaxPageBytes = 4 << 20;
constexpr int kBatch = 200;

absl::Status NotGivenOut() { return InvalidField("page_token", "was not given out for this list"); }

absl::StatusOr<int64_t> NumberOf(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return NotGivenOut();
  return number;
}

// "STEP,ATTEMPT".
absl::StatusOr<HistoryPosition> ParseHistoryPosition(const std::string& text) {
  HistoryPosition position;
  const char* end = text.data() + text.size();
  const auto step = std::from_chars(text.data(), end, position.step);
  if (step.ec != std::errc() || step.ptr == end || *step.ptr != ',') return NotGivenOut();
  const auto attempt = std::from_chars(step.ptr + 1, end, position.attempt);
  if (attempt.ec != std::errc() || attempt.ptr != end) return NotGivenOut();
  return position;
}

// Jobs newest first, of creation revisions before `before`, until `visit` returns false. It may
// move the record away.
absl::Status VisitJobs(StoreReader& reader, v1::JobState state, int64_t before,
                       const std::function<bool(JobRecord&)>& visit) {
  JobQuery query{.before_create_revision = before, .limit = kBatch};
  if (state != v1::JOB_STATE_UNSPECIFIED) query.state = state;
  while (true) {
    WF_ASSIGN_OR_RETURN(std::vector<JobRecord> records, reader.ListJobs(query));
    for (JobRecord& record : records) {
      query.before_create_revision = record.create_revision();
      if (!visit(record)) return absl::OkStatus();
    }
    if (std::ssize(records) < kBatch) return absl::OkStatus();
  }
}

}  // namespace

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* call,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return List(*request, *response); });
}

absl::Status JobService::List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseJobFilter(request.filter()));
  WF_ASSIGN_OR_RETURN(const PageOrder order,
                      PageOrder::Parse(request.order_by(), JobOrderFields()));
  const std::string scope =
      "jobs?" + Sha256Hex(request.filter() + '\n' + request.order_by()).substr(0, 16);
  WF_ASSIGN_OR_RETURN(const std::string token, ParsePageToken(scope, request.page_token()));
  std::optional<PagePosition> after;
  if (!token.empty()) {
    WF_ASSIGN_OR_RETURN(after, ParsePosition(token));
  }
  const bool as_stored = order.is_newest_first();
  const size_t wanted = static_cast<size_t>(size) + 1;
  FirstOf<JobRecord> first(order, wanted);
  size_t found = 0;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) {
    return VisitJobs(reader, StateAskedFor(filter),
                     as_stored && after ? after->revision : INT64_MAX, [&](JobRecord& record) {
                       const FilterLookup lookup = LookUpIn(record.job());
                       if (!filter.Matches(lookup)) return true;
                       PagePosition position = order.PositionOf(lookup, record.create_revision());
                       if (after && !order.Before(*after, position)) return true;
                       first.Add(std::move(position), std::move(record));
                       return ++found < wanted || !as_stored;
                     });
  }));
  size_t bytes = 0;
  std::string last;
  for (auto& [position, record] : first.Take()) {
    bytes += record.job().ByteSizeLong();
    const bool full = response.jobs_size() == size || bytes > kMaxPageBytes;
    if (full && response.jobs_size() > 0) {
      response.set_next_page_token(MakePageToken(scope, last));
      break;
    }
    last = PrintPosition(position);
    *response.add_jobs() = Shown(std::move(record), context_.clock.Now());
  }
  return absl::OkStatus();
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
    WF_ASSIGN_OR_RETURN(position, ParseHistoryPosition(token));
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
