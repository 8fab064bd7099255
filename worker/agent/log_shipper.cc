#include "worker/agent/log_shipper.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

// A request may have 1 MiB in all, and 1000 chunks.
constexpr int64_t kMaxBatchBytes = 900 << 10;
constexpr size_t kMaxBatchChunks = 500;
constexpr absl::Duration kReportTimeout = absl::Seconds(10);
// Batches begin at least so far apart, unless a task has ended.
constexpr absl::Duration kBatchInterval = absl::Milliseconds(500);
// Between looks at an outbox that has nothing to send.
constexpr absl::Duration kIdleWait = absl::Seconds(5);

}  // namespace

LogShipper::LogShipper(const std::string& worker_id, const std::string& incarnation,
                       CoordinatorLink& link, LogOutbox& outbox)
    : name_("workers/" + worker_id),
      incarnation_(incarnation),
      link_(link),
      outbox_(outbox),
      thread_([this] { Loop(); }) {}

LogShipper::~LogShipper() {
  outbox_.StopWaiting();
  thread_.join();
}

void LogShipper::Loop() {
  OutcomeLog report(absl::StrCat("log lines to ", link_.address()));
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(2));
  while (link_.Sleep(absl::ZeroDuration())) {
    if (!outbox_.WaitForNews(kIdleWait)) continue;
    const absl::Duration begun = Clock::Real().Monotonic();
    if (!link_.registered()) {
      link_.Sleep(absl::Milliseconds(50));
      continue;
    }
    const absl::Status status = SendBatch();
    report.Note(status);
    if (status.ok()) {
      backoff.Reset();
      outbox_.WaitForEnd(begun + kBatchInterval - Clock::Real().Monotonic());
    } else {
      if (absl::IsNotFound(status)) link_.SetRegistered(false);
      link_.Pause(backoff.Next());
    }
  }
}

absl::Status LogShipper::SendBatch() {
  v1::ReportLogsRequest request;
  request.set_name(name_);
  request.set_incarnation(incarnation_);
  for (LogOutbox::Chunk& chunk : outbox_.NextBatch(kMaxBatchBytes, kMaxBatchChunks)) {
    *request.add_chunks() = std::move(chunk);
  }
  if (request.chunks().empty()) return absl::OkStatus();
  v1::ReportLogsResponse response;
  WF_RETURN_IF_ERROR(link_.Call(kReportTimeout, [&](grpc::ClientContext& context) {
    return link_.stub().ReportLogs(&context, request, &response);
  }));
  absl::Status status;
  for (const LogOutbox::Chunk& chunk : request.chunks()) {
    const auto next = response.next_line().find(chunk.task_id());
    if (next != response.next_line().end()) {
      outbox_.Acknowledge(chunk, next->second);
    } else {
      status = absl::UnavailableError(
          absl::StrCat("the coordinator cannot keep those of ", chunk.task_id(), " at present"));
    }
  }
  return status;
}

void LogShipper::Flush(absl::Duration timeout) {
  const absl::Duration deadline = Clock::Real().Monotonic() + timeout;
  while (outbox_.HasNews() && Clock::Real().Monotonic() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
}

}  // namespace wavefield
