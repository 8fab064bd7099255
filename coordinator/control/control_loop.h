#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/cluster/cluster.h"
#include "coordinator/jobs/dependencies.h"
#include "coordinator/metrics/coordinator_metrics.h"
#include "coordinator/store/store.h"
#include "core/base/clock.h"

namespace wavefield::coordinator {

// A job that was asked to stop and has not after so long is ended by force: at least kStopGrace,
// and time enough for its last checkpoint, going by how long the one before took.
inline constexpr absl::Duration kStopGrace = absl::Seconds(60);
inline constexpr absl::Duration kLongestStopGrace = absl::Hours(1);
absl::Duration StopGraceOf(const JobRecord& record);

// What the coordinator does by itself: notices lost workers, starts queued jobs, makes room for
// some, empties workers that are drained, ends jobs that do not stop, and removes what retention
// dropped. One thread calls Run() or Tick().
class ControlLoop {
 public:
  ControlLoop(Store& store, Cluster& cluster, LeaseTable& leases, CoordinatorMetrics& metrics,
              const Clock& clock, std::filesystem::path storage_root)
      : store_(store),
        cluster_(cluster),
        leases_(leases),
        metrics_(metrics),
        clock_(clock),
        storage_root_(std::move(storage_root)) {}

  // Ticks at every change, and at least every 200 ms, until `stopped`. `after_tick` runs after
  // each.
  void Run(const std::function<bool()>& stopped, const std::function<void()>& after_tick);
  void Tick();

 private:
  void EndSilentWorkers();
  void SettleDependencies();
  // Fills in `jobs`, by id: those that `waiting` wait for; nothing for one that is gone.
  absl::Status LookUpDependencies(const std::vector<std::shared_ptr<const JobRecord>>& waiting,
                                  std::map<std::string, std::optional<wavefield::v1::Job>>& jobs);
  void EmptyDrainedWorkers();
  void ScheduleJobs();
  void CarryOut(const SchedulerSnapshot& snapshot);
  absl::Status ApplyPlan(Transaction& transaction, const SchedulerPlan& plan);
  absl::Status ApplyStart(Transaction& transaction, const SchedulerPlan::Start& start);
  absl::Status ApplyPreemption(Transaction& transaction,
                               const SchedulerPlan::Preemption& preemption);
  void EndJobsThatDoNotStop();
  void FreeAbandonedSlots();
  void RemoveDeletedDirectories();
  void RemoveDirectory(const std::string& directory);

  Store& store_;
  Cluster& cluster_;
  LeaseTable& leases_;
  CoordinatorMetrics& metrics_;
  const Clock& clock_;
  const std::filesystem::path storage_root_;
  struct Told {
    DependencyState state;
    absl::Duration when;  // monotonic
  };
  std::map<std::string, Told> told_;                       // job → what it was said to wait for
  std::map<std::string, absl::Duration> stopping_since_;   // job → monotonic
  std::map<std::string, int64_t> unstarted_since_;         // task → its worker's heartbeats then
  std::map<std::string, absl::Duration> failed_removals_;  // directory → when again, monotonic
  absl::Duration next_upload_check_;                       // monotonic
};

}  // namespace wavefield::coordinator
