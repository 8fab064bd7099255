#include "coordinator/cluster/cluster.h"

#include <fmt/format.h>

#include "coordinator/cluster/random_id.h"
#include "coordinator/cluster/slot_groups.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/names.h"
#include "coordinator/jobs/timestamps.h"

namespace wavefield::coordinator {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

namespace {

// The registered GPUs and their host as the last heartbeat described them.
void TakeTelemetry(const LeaseTable::Heartbeats& heard, Worker& worker) {
  if (heard.count == 0) return;
  *worker.mutable_host() = heard.host;
  worker.set_spool_depth(heard.spool_depth);
  if (heard.clock_difference) {
    *worker.mutable_clock_difference() = ToProtoDuration(*heard.clock_difference);
  }
  for (Gpu& gpu : *worker.mutable_gpus()) {
    for (const Gpu& now : heard.gpus) {
      if (now.uuid() != gpu.uuid()) continue;
      *gpu.mutable_telemetry() = now.telemetry();
      if (gpu.slot() >= 0) gpu.set_unavailable(now.unavailable());
    }
  }
}

}  // namespace

void Cluster::JobsCommitted(const std::vector<JobRecord>& records) {
  std::set<std::string> touched;
  {
    std::lock_guard lock(mutex_);
    const auto touch = [&](const JobRecord& record) {
      for (const TaskRecord& task : record.tasks()) touched.insert("workers/" + task.worker());
    };
    for (const JobRecord& record : records) {
      const std::string id = JobId(record);
      auto& entry = jobs_[id];
      if (entry != nullptr) touch(*entry);
      touch(record);
      touched.insert(record.job().name());
      if (IsLive(record)) {
        entry = std::make_shared<const JobRecord>(record);
      } else {
        jobs_.erase(id);
      }
    }
  }
  for (const std::string& name : touched) signals_.Notify(name);
  if (!records.empty()) signals_.Notify(kJobsSignal);
  signals_.Notify(kControlSignal);
}

std::vector<std::shared_ptr<const JobRecord>> Cluster::LiveJobs() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const JobRecord>> jobs;
  for (const auto& [id, record] : jobs_) jobs.push_back(record);
  return jobs;
}

std::shared_ptr<const JobRecord> Cluster::FindLiveJob(const std::string& id) const {
  std::lock_guard lock(mutex_);
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : found->second;
}

void Cluster::PutWorker(const Worker& worker) {
  const std::string id = IdIn(worker.name());
  {
    std::lock_guard lock(mutex_);
    workers_[id] = worker;
  }
  signals_.Notify(worker.name());
  signals_.Notify(kControlSignal);
}

void Cluster::SetCordon(const Worker& worker) {
  {
    std::lock_guard lock(mutex_);
    const auto found = workers_.find(IdIn(worker.name()));
    if (found == workers_.end()) return;
    found->second.set_cordoned(worker.cordoned());
    found->second.set_draining(worker.draining());
    found->second.set_cordon_note(worker.cordon_note());
  }
  signals_.Notify(kControlSignal);
}

void Cluster::RemoveWorker(const std::string& worker, const std::string& incarnation) {
  std::lock_guard lock(mutex_);
  const auto found = workers_.find(worker);
  if (found == workers_.end() || found->second.incarnation() != incarnation) return;
  if (!leases_.IsLive(worker, incarnation)) workers_.erase(found);
}

std::vector<Worker> Cluster::Workers() const {
  std::lock_guard lock(mutex_);
  const auto holders = Holders();
  std::vector<Worker> workers;
  for (const auto& [id, known] : workers_) {
    Worker& worker = workers.emplace_back(WithTelemetry(id, known));
    const bool live = leases_.IsLive(id, worker.incarnation());
    worker.set_state(live ? WORKER_STATE_READY : WORKER_STATE_LOST);
    if (const auto held = holders.find(id); held != holders.end()) {
      const auto& slots = held->second;
      worker.set_used_slots(
          static_cast<int32_t>(std::distance(slots.begin(), slots.lower_bound(worker.slots()))));
      for (Gpu& gpu : *worker.mutable_gpus()) {
        if (const auto slot = slots.find(gpu.slot()); slot != slots.end()) {
          gpu.set_holder(slot->second);
        }
      }
    }
    if (const absl::Duration age = leases_.SinceHeartbeat(id); age != absl::InfiniteDuration()) {
      *worker.mutable_heartbeat_age() = ToProtoDuration(age);
    }
  }
  return workers;
}

Worker Cluster::WithTelemetry(const std::string& id, const Worker& known) const {
  Worker worker = known;
  if (const auto heartbeats = leases_.Get(id, known.incarnation())) {
    TakeTelemetry(*heartbeats, worker);
  }
  return worker;
}

std::optional<Worker> Cluster::FindWorker(const std::string& id) const {
  for (Worker& worker : Workers()) {
    if (worker.name() == "workers/" + id) return std::move(worker);
  }
  return std::nullopt;
}

std::set<std::string> Cluster::Draining() const {
  std::lock_guard lock(mutex_);
  std::set<std::string> draining;
  for (const auto& [id, worker] : workers_) {
    if (worker.draining()) draining.insert(id);
  }
  return draining;
}

AssignmentList Cluster::AssignmentsFor(const std::string& worker,
                                       const std::string& incarnation) const {
  std::lock_guard lock(mutex_);
  AssignmentList list;
  for (const auto& [id, record] : jobs_) {
    const Job& job = record->job();
    if (!HasAttempt(job.state())) continue;
    for (const TaskRecord& task : record->tasks()) {
      if (task.worker() != worker || task.incarnation() != incarnation || task.ended() ||
          task.epoch() != job.epoch()) {
        continue;
      }
      Assignment& assignment = *list.add_assignments();
      assignment.set_task_id(task.task_id());
      assignment.set_slot(task.slot());
      assignment.set_stop_requested(job.state() == JOB_STATE_STOPPING);
      TrainTask& train = *assignment.mutable_train();
      train.set_job(job.name());
      *train.mutable_spec() = job.spec();
      train.set_epoch(job.epoch());
      train.set_attempt(job.attempt());
      train.set_rank(task.rank());
      train.set_world_size(job.placements_size());
      train.set_dataset_directory(record->dataset_directory());
      train.set_dataset_content_hash(record->dataset_content_hash());
      train.set_checkpoint_directory(record->checkpoint_directory());
      *train.mutable_resume_candidates() = record->resume_candidates();
      train.set_init_from_directory(record->init_from_directory());
    }
  }
  for (const auto& [task_id, inference] : inference_) {
    const InferenceSession& session = *inference.session;
    if (inference.released || session.worker != worker || session.incarnation != incarnation)
      continue;
    Assignment& assignment = *list.add_assignments();
    assignment.set_task_id(task_id);
    assignment.set_slot(session.slot);
    *assignment.mutable_inference() = session.task;
  }
  return list;
}

bool Cluster::Reserve(const SchedulerPlan::Start& start) {
  std::lock_guard lock(mutex_);
  const auto holders = Holders();
  for (const auto& [worker, slot] : start.ranks) {
    const auto held = holders.find(worker);
    if (held != holders.end() && held->second.contains(slot)) return false;
    const auto known = workers_.find(worker);
    if (known == workers_.end() || known->second.cordoned()) return false;
  }
  reserved_.insert(start.ranks.begin(), start.ranks.end());
  return true;
}

void Cluster::Unreserve(const SchedulerPlan::Start& start) {
  std::lock_guard lock(mutex_);
  for (const auto& rank : start.ranks) reserved_.erase(rank);
}

absl::StatusOr<std::shared_ptr<InferenceSession>> Cluster::StartInference(InferenceTask task) {
  std::shared_ptr<InferenceSession> session;
  {
    std::lock_guard lock(mutex_);
    int total = 0;
    int64_t free = 0;
    std::map<std::string, int> held;
    std::optional<SlotOfRank> first;
    for (const SchedulerSnapshot::Host& host : Hosts().present) {
      if (host.device == kCuda) continue;  // inference runs on the CPU
      for (const SchedulerSnapshot::Slot& slot : host.slots) {
        ++total;
        if (!slot.holder.empty()) {
          ++held[slot.holder];
        } else {
          ++free;
          if (!first) first = {host.worker, slot.index};
        }
      }
    }
    if (free > 0 && free <= SlotsAwaited()) {
      return absl::ResourceExhaustedError(
          fmt::format("needs 1 slot; the {} free of {} are kept for jobs that others make room "
                      "for; try again later",
                      free, total));
    }
    if (!first) {
      std::string holders;
      for (const auto& [holder, count] : held) {
        if (holders.size() < 500) holders += fmt::format("; {} holds {}", holder, count);
      }
      return absl::ResourceExhaustedError(
          total == 0
              ? std::string("needs 1 slot, and no worker is ready")
              : fmt::format("needs 1 slot, 0 of {} free{}; try again later", total, holders));
    }
    const auto& [worker, slot] = *first;
    session = std::make_shared<InferenceSession>("inference/" + RandomHex(12), worker,
                                                 workers_.at(worker).incarnation(), slot,
                                                 std::move(task));
    inference_[session->task_id] = {session, false};
  }
  signals_.Notify("workers/" + session->worker);
  return session;
}

void Cluster::ReleaseInference(const std::shared_ptr<InferenceSession>& session) {
  {
    std::lock_guard lock(mutex_);
    const auto found = inference_.find(session->task_id);
    if (found == inference_.end()) return;
    found->second.released = true;
  }
  signals_.Notify("workers/" + session->worker);
}

void Cluster::InferenceEvent(const std::string& worker, const WorkerEvent& event) {
  std::shared_ptr<InferenceSession> session;
  {
    std::lock_guard lock(mutex_);
    const auto found = inference_.find(event.task_id());
    if (found == inference_.end() || found->second.session->worker != worker) return;
    session = found->second.session;
    if (event.has_exited()) inference_.erase(found);
  }
  session->Take(event);
  if (event.has_exited()) {
    signals_.Notify("workers/" + worker);
    signals_.Notify(kControlSignal);
  }
}

void Cluster::EndInferenceOn(const std::string& worker, const std::string& spared,
                             const std::set<std::string>* running, const std::string& why) {
  std::vector<std::shared_ptr<InferenceSession>> ended;
  {
    std::lock_guard lock(mutex_);
    for (auto entry = inference_.begin(); entry != inference_.end();) {
      const auto& session = entry->second.session;
      const bool same = !spared.empty() && session->incarnation == spared;
      const bool goes_on = same && (running == nullptr || running->contains(entry->first) ||
                                    (!session->started() && !entry->second.released));
      if (session->worker != worker || goes_on) {
        ++entry;
        continue;
      }
      ended.push_back(session);
      entry = inference_.erase(entry);
    }
  }
  for (const auto& session : ended) session->End(absl::AbortedError(why));
}

std::vector<Cluster::Unstarted> Cluster::UnwantedUnstartedTasks() const {
  std::lock_guard lock(mutex_);
  std::vector<Unstarted> tasks;
  for (const auto& [id, record] : jobs_) {
    const bool attempt = HasAttempt(record->job().state());
    for (const TaskRecord& task : record->tasks()) {
      const bool wanted = attempt && task.epoch() == record->job().epoch();
      if (!task.ended() && !task.started() && !wanted) {
        tasks.push_back({task.task_id(), task.worker(), task.incarnation()});
      }
    }
  }
  for (const auto& [task_id, inference] : inference_) {
    const InferenceSession& session = *inference.session;
    if (inference.released && !session.started()) {
      tasks.push_back({task_id, session.worker, session.incarnation});
    }
  }
  return tasks;
}

void Cluster::ForgetInference(const std::string& task_id) {
  {
    std::lock_guard lock(mutex_);
    inference_.erase(task_id);
  }
  signals_.Notify(kControlSignal);
}

}  // namespace wavefield::coordinator
