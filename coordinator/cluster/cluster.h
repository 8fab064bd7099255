#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/checkpoints/reads.h"
#include "coordinator/cluster/inference_session.h"
#include "coordinator/cluster/signal.h"
#include "coordinator/leases/lease_table.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// The name of the signal that wakes the control loop.
inline constexpr char kControlSignal[] = "control";
// … and of the one that says that jobs changed.
inline constexpr char kJobsSignal[] = "jobs";

// The present, in memory: what the store says of live jobs, which workers there are, what runs in
// which slot, and the assignments that follow from it. Thread-safe.
class Cluster {
 public:
  explicit Cluster(LeaseTable& leases, SchedulerOptions options = {})
      : leases_(leases), options_(std::move(options)) {}

  SignalTable& signals() { return signals_; }
  CheckpointReads& checkpoint_reads() { return checkpoint_reads_; }

  // Jobs were committed: the store's observer. Also used once at start.
  void JobsCommitted(const std::vector<JobRecord>& records);
  std::vector<std::shared_ptr<const JobRecord>> LiveJobs() const;
  std::shared_ptr<const JobRecord> FindLiveJob(const std::string& id) const;

  // A worker registered, or is known from before.
  void PutWorker(const wavefield::v1::Worker& worker);
  // Whether it is cordoned or drained, and why, as in `worker`; nothing if it is not known.
  void SetCordon(const wavefield::v1::Worker& worker);
  // It has ended in an orderly way; nothing if it registered again.
  void RemoveWorker(const std::string& worker, const std::string& incarnation);
  // With state, used slots and heartbeat age as of now, in order of names.
  std::vector<wavefield::v1::Worker> Workers() const;
  std::optional<wavefield::v1::Worker> FindWorker(const std::string& id) const;
  // Ids of the workers that jobs are being moved away from.
  std::set<std::string> Draining() const;

  // Everything the worker should be running.
  wavefield::v1::AssignmentList AssignmentsFor(const std::string& worker,
                                               const std::string& incarnation) const;

  // What the scheduler sees; jobs that wait for other jobs are not in the queue.
  SchedulerSnapshot Snapshot(absl::Time now) const;
  // Keeps the slots of a start from others until Unreserve; false when one is taken by now, or on a
  // worker that is cordoned.
  bool Reserve(const SchedulerPlan::Start& start);
  void Unreserve(const SchedulerPlan::Start& start);

  // Takes a free slot, but none of those that a job needs which others make room for;
  // RESOURCE_EXHAUSTED with the numbers when there is none.
  absl::StatusOr<std::shared_ptr<InferenceSession>> StartInference(
      wavefield::v1::InferenceTask task);
  // The caller is done with it: its process is ended, and its slot is free once that is known.
  void ReleaseInference(const std::shared_ptr<InferenceSession>& session);
  void InferenceEvent(const std::string& worker, const wavefield::v1::WorkerEvent& event);
  // Inference on this worker is over; of all incarnations but `spared` unless that is empty.
  // `running`: with it, those in the list go on.
  void EndInferenceOn(const std::string& worker, const std::string& spared,
                      const std::set<std::string>* running, const std::string& why);

  // Tasks that hold a slot, are no longer wanted, and were never reported as started.
  struct Unstarted {
    std::string task_id;
    std::string worker;
    std::string incarnation;
  };
  std::vector<Unstarted> UnwantedUnstartedTasks() const;
  void ForgetInference(const std::string& task_id);

 private:
  struct Inference {
    std::shared_ptr<InferenceSession> session;
    bool released = false;
  };

  // worker → slot → who holds it.
  std::map<std::string, std::map<int32_t, std::string>> Holders() const;
  struct HostList {
    std::vector<SchedulerSnapshot::Host> present;  // take work
    std::vector<SchedulerSnapshot::AbsentHost> absent;
  };
  HostList Hosts() const;
  // How many slots of the CPU queued jobs need for which others were asked to make room.
  int64_t SlotsAwaited() const;
  // Why the worker gets nothing new; nothing if it does.
  std::optional<SchedulerSnapshot::Absence> AbsenceOf(const std::string& id,
                                                      const wavefield::v1::Worker& worker) const;
  std::map<std::string, std::string> Unfit() const;
  wavefield::v1::Worker WithTelemetry(const std::string& id,
                                      const wavefield::v1::Worker& known) const;

  LeaseTable& leases_;
  const SchedulerOptions options_;
  SignalTable signals_;
  CheckpointReads checkpoint_reads_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const JobRecord>> jobs_;  // live ones
  std::map<std::string, wavefield::v1::Worker> workers_;
  std::set<std::pair<std::string, int32_t>> reserved_;
  std::map<std::string, Inference> inference_;  // by task id
};

}  // namespace wavefield::coordinator
