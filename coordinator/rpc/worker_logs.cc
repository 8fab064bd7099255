// What ranks printed, from their workers: WorkerService.ReportLogs.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "coordinator/rpc/requests.h"
#include "coordinator/rpc/worker_requests.h"
#include "coordinator/rpc/worker_service.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxChunks = 1000;
// 1 MiB as the API says, and room for names and lengths.
constexpr size_t kMaxReportBytes = (1 << 20) + (128 << 10);
constexpr size_t kMaxTaskIdBytes = 128;
constexpr int64_t kMaxLineNumber = int64_t{1} << 53;

absl::Status CheckReport(const v1::ReportLogsRequest& request) {
  if (request.chunks_size() > kMaxChunks) {
    return InvalidField(
        "chunks", fmt::format("has {}; at most {} are allowed", request.chunks_size(), kMaxChunks));
  }
  if (const size_t bytes = request.ByteSizeLong(); bytes > kMaxReportBytes) {
    return InvalidField("chunks",
                        fmt::format("have {} bytes; at most {} are allowed", bytes, 1 << 20));
  }
  for (const auto& chunk : request.chunks()) {
    if (chunk.task_id().size() > kMaxTaskIdBytes) {
      return InvalidField("chunks.task_id", fmt::format("has {} bytes; at most {} are allowed",
                                                        chunk.task_id().size(), kMaxTaskIdBytes));
    }
    if (chunk.first_line() < 0 || chunk.first_line() > kMaxLineNumber) {
      return InvalidField("chunks.first_line", fmt::format("is {}; allowed: 0 to {}",
                                                           chunk.first_line(), kMaxLineNumber));
    }
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* WorkerService::ReportLogs(grpc::CallbackServerContext* call,
                                                    const v1::ReportLogsRequest* request,
                                                    v1::ReportLogsResponse* response) {
  return RunUnary(call, context_.reports, [=, this] { return TakeLogs(*request, *response); });
}

absl::Status WorkerService::TakeLogs(const v1::ReportLogsRequest& request,
                                     v1::ReportLogsResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, WorkerIdOf(request.name()));
  WF_RETURN_IF_ERROR(CheckReport(request));
  if (!context_.leases.IsLive(id, request.incarnation())) {
    return absl::NotFoundError(
        fmt::format("workers/{} is not registered with this incarnation: register again", id));
  }
  std::set<std::string> jobs;
  std::set<std::string> failed;  // tasks: of these nothing is acknowledged, and they come again
  for (const auto& chunk : request.chunks()) {
    if (failed.contains(chunk.task_id())) continue;
    const auto next = context_.logs.Append(id, chunk);
    if (!next.ok()) {
      failed.insert(chunk.task_id());
      response.mutable_next_line()->erase(chunk.task_id());
      continue;
    }
    int64_t& wanted = (*response.mutable_next_line())[chunk.task_id()];
    wanted = std::max(wanted, *next);
    jobs.insert(chunk.task_id().substr(0, chunk.task_id().find('/')));
  }
  for (const std::string& job : jobs) context_.cluster.signals().Notify("logs/" + job);
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
