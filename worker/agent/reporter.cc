#include "worker/agent/reporter.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr int kMaxBatchEvents = 1000;
// One event is at most 4 MiB: a batch stays below the 8 MiB of a message.
constexpr int64_t kMaxBatchBytes = 2 << 20;
constexpr absl::Duration kReportTimeout = absl::Seconds(10);
// Batches begin at least so far apart: a lone event goes out at once, a stream in groups.
constexpr absl::Duration kBatchInterval = absl::Milliseconds(50);
// Between looks at a spool that has nothing to send.
constexpr absl::Duration kIdleWait = absl::Seconds(5);

}  // namespace

Reporter::Reporter(const std::string& worker_id, const std::string& incarnation,
                   CoordinatorLink& link, TaskRunner& runner, Spool& spool)
    : name_("workers/" + worker_id),
      incarnation_(incarnation),
      link_(link),
      runner_(runner),
      spool_(spool),
      thread_([this] { Loop(); }) {}

Reporter::~Reporter() {
  spool_.Wake();
  thread_.join();
}

void Reporter::Loop() {
  OutcomeLog disk("writing the spool");
  OutcomeLog report(absl::StrCat("reports to ", link_.address()));
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(2));
  int64_t thinned = 0;
  while (link_.Sleep(absl::ZeroDuration())) {
    if (!spool_.WaitForEvent(spool_.acknowledged(), kIdleWait)) continue;
    const absl::Duration begun = Clock::Real().Monotonic();
    disk.Note(spool_.Sync());
    if (const int64_t now = spool_.thinned(); now > std::exchange(thinned, now) && now % 100 == 1) {
      spdlog::warn("spool: it is nearly full; {} step metrics were left out so far", now);
    }
    if (!link_.registered()) {
      link_.Sleep(kBatchInterval);
      continue;
    }
    const absl::Status status = SendBatch();
    report.Note(status);
    if (status.ok()) {
      backoff.Reset();
      link_.Sleep(begun + kBatchInterval - Clock::Real().Monotonic());
    } else {
      if (absl::IsNotFound(status)) link_.SetRegistered(false);
      link_.Pause(backoff.Next());
    }
  }
}

absl::Status Reporter::SendBatch() {
  v1::ReportEventsRequest request;
  request.set_name(name_);
  request.set_incarnation(incarnation_);
  for (v1::WorkerEvent& event :
       spool_.Read(spool_.acknowledged(), kMaxBatchEvents, kMaxBatchBytes)) {
    *request.add_events() = std::move(event);
  }
  v1::ReportEventsResponse response;
  WF_RETURN_IF_ERROR(link_.Call(kReportTimeout, [&](grpc::ClientContext& context) {
    return link_.stub().ReportEvents(&context, request, &response);
  }));
  spool_.Acknowledge(response.acknowledged_sequence());
  runner_.Acknowledge(response.acknowledged_sequence());
  return absl::OkStatus();
}

void Reporter::Flush(absl::Duration timeout) {
  const absl::Duration deadline = Clock::Real().Monotonic() + timeout;
  const int64_t goal = spool_.last_sequence();
  while (spool_.acknowledged() < goal && Clock::Real().Monotonic() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
}

}  // namespace wavefield
