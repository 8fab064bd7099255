// The part of the control loop that gives slots to jobs and takes them away.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <set>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/control/control_loop.h"
#include "coordinator/jobs/dependencies.h"
#include "coordinator/jobs/lifecycle.h"
#include "coordinator/jobs/names.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Job;

// What a job waits for is told again after so long: how far those jobs are changes all the time.
constexpr absl::Duration kTellAgain = absl::Seconds(30);

bool IsRunning(const JobRecord& record) {
  return record.job().state() == wavefield::v1::JOB_STATE_STARTING ||
         record.job().state() == wavefield::v1::JOB_STATE_RUNNING;
}

// The attempt writes a checkpoint and ends, and the job is queued again.
absl::Status Yield(Transaction& transaction, JobRecord& record, wavefield::v1::JobReason reason,
                   const std::string& message) {
  AddWarning(record, fmt::format("attempt {}: {}", record.job().attempt(), message));
  RequestYield(record, reason, message);
  const LogScope about({.job = JobId(record)});
  spdlog::info("{} stops: {}", record.job().name(), message);
  return transaction.PutJob(record);
}

// A worker in `ids` that runs a rank of the attempt under way, or nothing.
std::string WorkerAmong(const std::set<std::string>& ids, const JobRecord& record) {
  for (const TaskRecord& task : record.tasks()) {
    if (!task.ended() && ids.contains(task.worker())) return task.worker();
  }
  return "";
}

// But for how far those jobs are.
bool IsSame(const DependencyState& a, const DependencyState& b) {
  return a.kind == b.kind && a.jobs == b.jobs;
}

}  // namespace

void ControlLoop::SettleDependencies() {
  auto waiting = cluster_.LiveJobs();
  std::erase_if(waiting, [](const auto& record) { return !WaitsForJobs(*record); });
  std::map<std::string, std::optional<Job>> jobs;  // those waited for, by id
  if (const absl::Status read = LookUpDependencies(waiting, jobs); !read.ok()) {
    spdlog::error("cannot look up what jobs wait for: {}", std::string(read.message()));
    return;
  }
  std::map<std::string, DependencyState> changed;
  std::map<std::string, Told> told;
  for (const auto& record : waiting) {
    const std::string id = JobId(*record);
    const DependencyState state =
        CheckDependencies(*record, [&](const std::string& other) { return jobs[other]; });
    const auto before = told_.find(id);
    const bool news = before == told_.end() || !IsSame(before->second.state, state) ||
                      clock_.Monotonic() - before->second.when >= kTellAgain;
    told[id] = news ? Told{state, clock_.Monotonic()} : before->second;
    if (news) changed.emplace(id, state);
  }
  told_ = std::move(told);
  if (changed.empty()) return;
  const absl::Status written = store_.Write([&](Transaction& transaction) -> absl::Status {
    for (const auto& [id, state] : changed) {
      WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id));
      if (!WaitsForJobs(record)) continue;
      if (state.kind == DependencyState::Kind::kFailed) {
        FailForDependency(record, state.message, clock_.Now());
      } else if (state.kind == DependencyState::Kind::kReady) {
        record.set_dependencies_met(true);
      } else {
        record.mutable_job()->set_reason(wavefield::v1::JOB_REASON_WAITING_FOR_JOB);
        record.mutable_job()->set_state_message(state.message);
      }
      WF_RETURN_IF_ERROR(transaction.PutJob(record));
    }
    return absl::OkStatus();
  });
  if (written.ok()) return;
  spdlog::error("cannot record what jobs wait for: {}", std::string(written.message()));
  told_.clear();
}

absl::Status ControlLoop::LookUpDependencies(
    const std::vector<std::shared_ptr<const JobRecord>>& waiting,
    std::map<std::string, std::optional<Job>>& jobs) {
  for (const auto& record : waiting) {
    for (const auto& dependency : record->job().spec().after()) {
      jobs[IdIn(dependency.job())];
    }
  }
  if (jobs.empty()) return absl::OkStatus();
  return store_.Read([&](StoreReader& reader) -> absl::Status {
    for (auto& [id, job] : jobs) {
      if (const auto live = cluster_.FindLiveJob(id)) {
        job = live->job();
        continue;
      }
      const absl::StatusOr<JobRecord> found = reader.GetJob(id);
      if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
      if (found.ok()) job = found->job();
    }
    return absl::OkStatus();
  });
}

void ControlLoop::EmptyDrainedWorkers() {
  const std::set<std::string> draining = cluster_.Draining();
  if (draining.empty()) return;
  std::map<std::string, std::string> moved;  // job → worker
  for (const auto& record : cluster_.LiveJobs()) {
    const std::string worker = IsRunning(*record) ? WorkerAmong(draining, *record) : "";
    if (!worker.empty()) moved[JobId(*record)] = worker;
  }
  if (moved.empty()) return;
  const absl::Status written = store_.Write([&](Transaction& transaction) -> absl::Status {
    for (const auto& [id, worker] : moved) {
      WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id));
      if (!IsRunning(record)) continue;
      const std::string message =
          fmt::format("moves away from workers/{}, which is drained", worker);
      WF_RETURN_IF_ERROR(
          Yield(transaction, record, wavefield::v1::JOB_REASON_WORKER_DRAINED, message));
    }
    return absl::OkStatus();
  });
  if (!written.ok()) {
    spdlog::error("cannot empty drained workers: {}", std::string(written.message()));
  }
}

void ControlLoop::ScheduleJobs() {
  const absl::Duration start = clock_.Monotonic();
  const SchedulerSnapshot snapshot = cluster_.Snapshot(clock_.Now());
  if (snapshot.queue.empty()) return;
  CarryOut(snapshot);
  metrics_.scheduler_pass_seconds.Observe(absl::ToDoubleSeconds(clock_.Monotonic() - start));
}

void ControlLoop::CarryOut(const SchedulerSnapshot& snapshot) {
  SchedulerPlan plan = Schedule(snapshot);
  std::erase_if(plan.starts, [&](const auto& start) { return !cluster_.Reserve(start); });
  std::erase_if(plan.waits, [&](const auto& wait) {
    const auto record = cluster_.FindLiveJob(wait.job);
    return record != nullptr && record->job().reason() == wait.reason &&
           record->job().state_message() == wait.message;
  });
  if (plan.starts.empty() && plan.waits.empty() && plan.preemptions.empty()) return;
  const absl::Status written =
      store_.Write([&](Transaction& transaction) { return ApplyPlan(transaction, plan); });
  if (!written.ok()) {
    spdlog::error("cannot carry out a plan: {}", std::string(written.message()));
  }
  for (const auto& start : plan.starts) {
    const LogScope about({.job = start.job});
    spdlog::info("jobs/{} starts on {} slots", start.job, start.ranks.size());
    cluster_.Unreserve(start);
  }
}

absl::Status ControlLoop::ApplyPlan(Transaction& transaction, const SchedulerPlan& plan) {
  for (const SchedulerPlan::Start& start : plan.starts) {
    WF_RETURN_IF_ERROR(ApplyStart(transaction, start));
  }
  for (const SchedulerPlan::Preemption& preemption : plan.preemptions) {
    WF_RETURN_IF_ERROR(ApplyPreemption(transaction, preemption));
  }
  for (const SchedulerPlan::Wait& wait : plan.waits) {
    WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(wait.job));
    if (record.job().state() != wavefield::v1::JOB_STATE_QUEUED) continue;
    record.mutable_job()->set_reason(wait.reason);
    record.mutable_job()->set_state_message(wait.message);
    WF_RETURN_IF_ERROR(transaction.PutJob(record));
  }
  return absl::OkStatus();
}

absl::Status ControlLoop::ApplyStart(Transaction& transaction, const SchedulerPlan::Start& start) {
  WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(start.job));
  if (record.job().state() != wavefield::v1::JOB_STATE_QUEUED || HoldsSlots(record)) {
    return absl::OkStatus();
  }
  std::vector<Placement> placements;
  for (const auto& [worker, slot] : start.ranks) {
    // Whoever cordoned it after the plan was made has been answered already.
    WF_ASSIGN_OR_RETURN(const auto known, transaction.FindWorker(worker));
    if (!known || known->worker().cordoned()) return absl::OkStatus();
    placements.push_back({worker, known->worker().incarnation(), slot});
  }
  WF_ASSIGN_OR_RETURN(const auto candidates, ResumeCandidates(transaction, start.job));
  StartAttempt(record, placements, candidates, clock_.Now());
  WF_RETURN_IF_ERROR(transaction.DropRendezvous(start.job, record.job().epoch()));
  return transaction.PutJob(record);
}

absl::Status ControlLoop::ApplyPreemption(Transaction& transaction,
                                          const SchedulerPlan::Preemption& preemption) {
  WF_ASSIGN_OR_RETURN(JobRecord first, transaction.GetJob(preemption.job));
  if (first.job().state() != wavefield::v1::JOB_STATE_QUEUED) return absl::OkStatus();
  for (const std::string& id : preemption.victims) {
    WF_ASSIGN_OR_RETURN(JobRecord victim, transaction.GetJob(id));
    if (!IsRunning(victim)) continue;
    const std::string message = fmt::format("makes room for jobs/{}, whose priority is {}",
                                            preemption.job, first.job().spec().priority());
    WF_RETURN_IF_ERROR(Yield(transaction, victim, wavefield::v1::JOB_REASON_PREEMPTED, message));
    first.add_preempts(id);
  }
  return transaction.PutJob(first);
}

}  // namespace wavefield::coordinator
