// Why jobs wait, in which order, and why they ended: JobService.ListQueue and ExplainJob.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <utility>

#include "coordinator/explain/blockers.h"
#include "coordinator/explain/root_cause.h"
#include "coordinator/jobs/dependencies.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/job_fields.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/requests.h"
#include "coordinator/scheduler/forecast.h"
#include "coordinator/scheduler/scheduler.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

// The jobs that a record waits for, as they are in the store.
DependencyState DependenciesOf(const JobRecord& record, StoreReader& reader,
                               std::optional<absl::Time>& expected_end, absl::Time now) {
  expected_end = absl::InfinitePast();
  return CheckDependencies(record, [&](const std::string& id) -> std::optional<v1::Job> {
    const auto other = reader.GetJob(id);
    if (!other.ok()) return std::nullopt;
    if (HasEnded(other->job().state())) return other->job();
    const auto end = ExpectedEnd(*other, now);
    expected_end =
        end && expected_end ? std::optional(std::max(*expected_end, *end)) : std::nullopt;
    return other->job();
  });
}

void ExplainWaiting(const SchedulerSnapshot& snapshot, const JobRecord& record,
                    v1::JobExplanation& explanation) {
  const std::string id = JobId(record);
  const auto starts = ForecastStarts(snapshot);
  explanation.set_summary("it starts now");
  for (const Decision& decision : Arrange(snapshot)) {
    if (decision.job->id != id) continue;
    const auto blockers = BlockersOf(snapshot, starts, decision);
    explanation.mutable_blockers()->Assign(blockers.begin(), blockers.end());
    if (!blockers.empty()) explanation.set_summary(SummaryOf(decision, blockers));
  }
  if (const auto start = starts.find(id); start != starts.end()) {
    *explanation.mutable_expected_start() = ToTimestamp(start->second);
  }
}

std::string DescribeAttempt(const JobRecord& record, absl::Time now) {
  const v1::Job& job = record.job();
  std::string text = fmt::format("attempt {} {}", job.attempt(), job.state_message());
  if (job.last_step().step() > 0) {
    text += fmt::format("; step {}{} is done", job.last_step().step(),
                        job.max_steps() > 0 ? fmt::format(" of {}", job.max_steps()) : "");
  }
  const auto end = ExpectedEnd(record, now);
  if (end) text += fmt::format("; it should end about {}", ShortTime(*end, now));
  return text;
}

// Whether a job that ended did so after it had been queued again.
bool IsOfEarlierTry(const v1::RootCause& cause, const v1::Job& job) {
  return HasEnded(job.state()) && FromTimestamp(cause.time()) < FromTimestamp(job.queue_time());
}

// The causes of the record, the newest as the job's own if it is what the job's state is due to.
void AddRootCauses(const JobRecord& record, v1::JobExplanation& explanation) {
  const v1::Job& job = record.job();
  int rest = record.root_causes_size();
  const bool own = rest > 0 && !HasAttempt(job.state()) && job.state() != v1::JOB_STATE_SUCCEEDED &&
                   record.root_causes(rest - 1).attempt() == job.attempt() &&
                   !IsOfEarlierTry(record.root_causes(rest - 1), job);
  if (own) *explanation.mutable_root_cause() = record.root_causes(--rest);
  while (rest > 0) *explanation.add_earlier() = record.root_causes(--rest);
}

}  // namespace

grpc::ServerUnaryReactor* JobService::ExplainJob(grpc::CallbackServerContext* call,
                                                 const v1::ExplainJobRequest* request,
                                                 v1::JobExplanation* response) {
  return RunUnary(call, context_.calls, [=, this] { return Explain(*request, *response); });
}

absl::Status JobService::Explain(const v1::ExplainJobRequest& request,
                                 v1::JobExplanation& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.name()));
  const absl::Time now = context_.clock.Now();
  JobRecord record;
  DependencyState dependencies;
  std::optional<absl::Time> expected_end;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(record, reader.GetJob(id));
    if (WaitsForJobs(record)) {
      dependencies = DependenciesOf(record, reader, expected_end, now);
    }
    return absl::OkStatus();
  }));
  const v1::Job& job = record.job();
  AddRootCauses(record, response);
  if (job.state() == v1::JOB_STATE_PAUSED) {
    *response.add_blockers() = BlockerOfPause(job);
    response.set_summary(response.blockers(0).message());
  } else if (dependencies.kind == DependencyState::Kind::kWaiting) {
    *response.add_blockers() =
        BlockerOfDependencies(dependencies, job.spec().after_size(), expected_end);
    response.set_summary(dependencies.message);
  } else if (job.state() == v1::JOB_STATE_QUEUED) {
    ExplainWaiting(context_.cluster.Snapshot(now), record, response);
  } else if (HasAttempt(job.state())) {
    response.set_summary(DescribeAttempt(record, now));
  } else {
    response.set_summary(response.has_root_cause() ? DescribeRootCause(response.root_cause())
                                                   : job.state_message());
  }
  *response.mutable_job() = Shown(std::move(record), now);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::ListQueue(grpc::CallbackServerContext* call,
                                                const v1::ListQueueRequest* request,
                                                v1::ListQueueResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return Queue(*request, *response); });
}

absl::Status JobService::Queue(const v1::ListQueueRequest& request,
                               v1::ListQueueResponse& response) {
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  WF_ASSIGN_OR_RETURN(const std::string token, ParsePageToken("queue", request.page_token()));
  size_t begin = 0;
  std::from_chars(token.data(), token.data() + token.size(), begin);
  const SchedulerSnapshot snapshot = context_.cluster.Snapshot(context_.clock.Now());
  std::map<std::string, SchedulerPlan::Wait> waits;
  for (SchedulerPlan::Wait& wait : Schedule(snapshot).waits) {
    std::string job = wait.job;
    waits.emplace(std::move(job), std::move(wait));
  }
  const auto starts = ForecastStarts(snapshot);
  const std::vector<Decision> decisions = Arrange(snapshot);
  for (size_t i = begin; i < decisions.size(); ++i) {
    if (response.entries_size() == size) {
      response.set_next_page_token(MakePageToken("queue", std::to_string(i)));
      break;
    }
    const SchedulerSnapshot::QueuedJob& job = *decisions[i].job;
    v1::QueueEntry& entry = *response.add_entries();
    entry.set_job("jobs/" + job.id);
    entry.set_position(static_cast<int32_t>(i) + 1);
    entry.set_priority(job.priority);
    entry.set_effective_priority(decisions[i].effective_priority);
    entry.set_world_size(job.world_size);
    entry.set_device(job.device);
    *entry.mutable_queue_time() = ToTimestamp(std::min(job.queue_time, snapshot.now));
    if (const auto start = starts.find(job.id); start != starts.end()) {
      *entry.mutable_expected_start() = ToTimestamp(start->second);
    }
    const auto wait = waits.find(job.id);
    entry.set_message(wait == waits.end() ? "starts now" : wait->second.message);
    if (wait != waits.end()) entry.set_reason(wait->second.reason);
  }
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
