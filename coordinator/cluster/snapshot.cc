// What the scheduler sees of the cluster.
#include <fmt/format.h>

#include <algorithm>

#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/slot_groups.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/scheduler/forecast.h"

namespace wavefield::coordinator {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

namespace {

int64_t SlotsHeld(const JobRecord& record) {
  return std::count_if(record.tasks().begin(), record.tasks().end(),
                       [](const TaskRecord& task) { return !task.ended(); });
}

SchedulerSnapshot::Labels LabelsOf(const Job& job) {
  return {job.spec().labels().begin(), job.spec().labels().end()};
}

SchedulerSnapshot::QueuedJob Queued(const JobRecord& record) {
  const Job& job = record.job();
  SchedulerSnapshot::QueuedJob queued;
  queued.id = JobId(record);
  queued.priority = job.spec().priority();
  queued.age = record.create_revision();
  queued.world_size = job.spec().resources().world_size();
  queued.device = job.spec().resources().device();
  queued.memory = job.memory_estimate_bytes();
  queued.ranks_still_running = static_cast<int>(SlotsHeld(record));
  queued.labels = LabelsOf(job);
  queued.queue_time = FromTimestamp(job.has_queue_time() ? job.queue_time() : job.create_time());
  queued.preempts = {record.preempts().begin(), record.preempts().end()};
  queued.expected_run = ExpectedRun(record);
  return queued;
}

SchedulerSnapshot::HoldingJob Holding(const JobRecord& record, absl::Time now) {
  const Job& job = record.job();
  SchedulerSnapshot::HoldingJob holding;
  holding.id = JobId(record);
  holding.priority = job.spec().priority();
  holding.slots = SlotsHeld(record);
  holding.labels = LabelsOf(job);
  holding.lost_work = LostWork(record);
  holding.ending = job.state() != JOB_STATE_STARTING && job.state() != JOB_STATE_RUNNING;
  holding.expected_end = ExpectedEnd(record, now);
  return holding;
}

}  // namespace

std::map<std::string, std::map<int32_t, std::string>> Cluster::Holders() const {
  std::map<std::string, std::map<int32_t, std::string>> holders;
  for (const auto& [id, record] : jobs_) {
    for (const TaskRecord& task : record->tasks()) {
      if (!task.ended()) holders[task.worker()][task.slot()] = "jobs/" + id;
    }
  }
  for (const auto& [task_id, inference] : inference_) {
    const InferenceSession& session = *inference.session;
    holders[session.worker][session.slot] = session.Describe();
  }
  for (const auto& [worker, slot] : reserved_) holders[worker].emplace(slot, "a job that starts");
  return holders;
}

std::optional<SchedulerSnapshot::Absence> Cluster::AbsenceOf(const std::string& id,
                                                             const Worker& worker) const {
  if (!leases_.IsLive(id, worker.incarnation())) return SchedulerSnapshot::Absence::kLost;
  if (!leases_.TakesWork(id, worker.incarnation())) return SchedulerSnapshot::Absence::kEnding;
  if (worker.draining()) return SchedulerSnapshot::Absence::kDraining;
  if (worker.cordoned()) return SchedulerSnapshot::Absence::kCordoned;
  return std::nullopt;
}

Cluster::HostList Cluster::Hosts() const {
  const auto holders = Holders();
  HostList hosts;
  for (const auto& [id, worker] : workers_) {
    std::map<int32_t, std::string> held;
    const Worker now = WithTelemetry(id, worker);
    for (const Gpu& gpu : now.gpus()) {
      if (!gpu.unavailable().empty()) held[gpu.slot()] = "another process on workers/" + id;
    }
    if (const auto holder = holders.find(id); holder != holders.end()) {
      for (const auto& [slot, name] : holder->second) held[slot] = name;
    }
    const auto absence = AbsenceOf(id, worker);
    for (SlotGroup& group : SlotGroupsOf(worker)) {
      SchedulerSnapshot::Host host{id, std::move(group.device), group.memory, {}};
      for (const int32_t slot : group.slots) {
        const auto holder = held.find(slot);
        host.slots.push_back({slot, holder == held.end() ? "" : holder->second});
      }
      if (absence) {
        hosts.absent.push_back({std::move(host), *absence, worker.cordon_note()});
      } else {
        hosts.present.push_back(std::move(host));
      }
    }
  }
  return hosts;
}

int64_t Cluster::SlotsAwaited() const {
  int64_t slots = 0;
  for (const auto& [id, record] : jobs_) {
    const Job& job = record->job();
    const auto& resources = job.spec().resources();
    if (job.state() == JOB_STATE_QUEUED && record->preempts_size() > 0 &&
        resources.device() != kCuda) {
      slots += resources.world_size();
    }
  }
  return slots;
}

std::map<std::string, std::string> Cluster::Unfit() const {
  std::map<std::string, std::string> unfit;
  for (const auto& [id, worker] : workers_) {
    if (!leases_.TakesWork(id, worker.incarnation())) continue;
    for (const Gpu& gpu : worker.gpus()) {
      if (gpu.slot() >= 0) continue;
      unfit.emplace(kCuda,
                    fmt::format("GPU {} of workers/{}: {}", gpu.index(), id, gpu.unavailable()));
    }
  }
  return unfit;
}

SchedulerSnapshot Cluster::Snapshot(absl::Time now) const {
  std::lock_guard lock(mutex_);
  SchedulerSnapshot snapshot;
  HostList hosts = Hosts();
  snapshot.hosts = std::move(hosts.present);
  snapshot.absent = std::move(hosts.absent);
  snapshot.unfit = Unfit();
  snapshot.options = options_;
  snapshot.now = now;
  for (const auto& [id, record] : jobs_) {
    if (HoldsSlots(*record)) snapshot.holding.push_back(Holding(*record, now));
    if (record->job().state() != JOB_STATE_QUEUED || WaitsForJobs(*record)) continue;
    snapshot.queue.push_back(Queued(*record));
  }
  return snapshot;
}

}  // namespace wavefield::coordinator
