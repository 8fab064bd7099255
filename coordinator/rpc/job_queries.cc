// Lists of jobs and of their history.
#include <fmt/format.h>

#include <charconv>

#include "coordinator/jobs/job_list.h"
#include "coordinator/rpc/job_fields.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/page_order.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

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

}  // namespace

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* call,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return List(*request, *response); });
}

absl::Status JobService::List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseJobFilter(request.filter()));
  WF_ASSIGN_OR_RETURN(const PageOrder order,
                      PageOrder::Parse(request.order_by(), JobOrderFields()));
  Page<JobRecord> page;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    const auto visit = [&](int64_t before, const auto& take) {
      return VisitJobs(reader, StateAskedFor(filter), before, take);
    };
    WF_ASSIGN_OR_RETURN(
        page, ReadPage<JobRecord>(request, "jobs", filter, order, visit,
                                  [](const JobRecord& record) { return LookUpIn(record.job()); }));
    return absl::OkStatus();
  }));
  for (JobRecord& record : page.resources) {
    *response.add_jobs() = Shown(std::move(record), context_.clock.Now());
  }
  response.set_next_page_token(page.next_page_token);
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
