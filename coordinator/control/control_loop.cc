#include "coordinator/control/control_loop.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "coordinator/checkpoints/upload_staging.h"
#include "coordinator/jobs/lifecycle.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"

namespace wavefield::coordinator {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(200);
constexpr absl::Duration kUploadCheckInterval = absl::Hours(1);
// Of removing directories, in one tick: what else a tick does must not wait for long.
constexpr absl::Duration kRemovalBudget = absl::Milliseconds(200);
constexpr absl::Duration kRemovalRetryInterval = absl::Minutes(1);

void LogFailure(const char* what, const absl::Status& status) {
  if (!status.ok()) spdlog::error("{}: {}", what, std::string(status.message()));
}

// It has ended in an orderly way. That it is cordoned holds when it comes back.
absl::Status ForgetWorker(Transaction& transaction, const std::string& worker) {
  WF_ASSIGN_OR_RETURN(auto record, transaction.FindWorker(worker));
  if (!record || !record->worker().cordoned()) return transaction.RemoveWorker(worker);
  record->set_left(true);
  return transaction.PutWorker(worker, *record);
}

}  // namespace

absl::Duration StopGraceOf(const JobRecord& record) {
  // As doubles: whatever was reported, also if it is no number.
  const double wanted =
      std::max(absl::ToDoubleSeconds(kStopGrace), 3 * record.last_write_seconds());
  return absl::Seconds(std::min(wanted, absl::ToDoubleSeconds(kLongestStopGrace)));
}

void ControlLoop::Run(const std::function<bool()>& stopped,
                      const std::function<void()>& after_tick) {
  const auto signal = cluster_.signals().Get(kControlSignal);
  while (!stopped()) {
    const uint64_t seen = signal->version();
    Tick();
    after_tick();
    if (!stopped()) signal->WaitPast(seen, kTick);
  }
}

void ControlLoop::Tick() {
  EndSilentWorkers();
  FreeAbandonedSlots();
  SettleDependencies();
  EmptyDrainedWorkers();
  ScheduleJobs();
  EndJobsThatDoNotStop();
  RemoveDeletedDirectories();
  if (clock_.Monotonic() >= next_upload_check_) {
    next_upload_check_ = clock_.Monotonic() + kUploadCheckInterval;
    RemoveStaleUploads(storage_root_, clock_.Now());
  }
}

void ControlLoop::EndSilentWorkers() {
  for (const LeaseTable::Expired& expired : leases_.TakeExpired()) {
    const std::string why =
        fmt::format("no heartbeat for {:.1f} s", absl::ToDoubleSeconds(expired.silent_for));
    bool orderly = expired.draining;
    LogFailure("cannot record a lost worker", store_.Write([&](Transaction& transaction) {
      WF_ASSIGN_OR_RETURN(auto jobs, transaction.LiveJobs());
      for (JobRecord& record : jobs) {
        if (OnWorkerGone(record, expired.worker, "", why, clock_.Now())) {
          orderly = false;
          WF_RETURN_IF_ERROR(transaction.PutJob(record));
        }
      }
      return orderly ? ForgetWorker(transaction, expired.worker) : absl::OkStatus();
    }));
    if (orderly) {
      spdlog::info("workers/{} has ended", expired.worker);
      cluster_.RemoveWorker(expired.worker, expired.incarnation);
    } else {
      spdlog::warn("workers/{} is lost: {}", expired.worker, why);
      metrics_.workers_lost.Increment();
    }
    cluster_.EndInferenceOn(expired.worker, "", nullptr,
                            fmt::format("workers/{} was lost: {}", expired.worker, why));
  }
}

void ControlLoop::EndJobsThatDoNotStop() {
  std::set<std::string> stopping;
  for (const auto& record : cluster_.LiveJobs()) {
    if (record->job().state() != wavefield::v1::JOB_STATE_STOPPING) continue;
    const std::string id = JobId(*record);
    stopping.insert(id);
    const auto [since, added] = stopping_since_.try_emplace(id, clock_.Monotonic());
    const absl::Duration grace = StopGraceOf(*record);
    if (clock_.Monotonic() - since->second < grace) continue;
    LogFailure("cannot end a job that does not stop", store_.Write([&](Transaction& transaction) {
      WF_ASSIGN_OR_RETURN(JobRecord current, transaction.GetJob(id));
      ForceStop(current,
                fmt::format("did not stop within {} s: its ranks were ended",
                            absl::ToInt64Seconds(grace)),
                clock_.Now());
      return transaction.PutJob(current);
    }));
  }
  std::erase_if(stopping_since_,
                [&](const auto& entry) { return !stopping.contains(entry.first); });
}

// A task that was withdrawn before its worker ever saw it has no end to be reported. Its worker has
// taken note of the withdrawal, and has nothing left to say, once two more heartbeats came without
// events waiting.
void ControlLoop::FreeAbandonedSlots() {
  std::map<std::string, int64_t> still_unstarted;
  for (const Cluster::Unstarted& task : cluster_.UnwantedUnstartedTasks()) {
    const auto heartbeats = leases_.Get(task.worker, task.incarnation);
    if (!heartbeats) continue;
    const auto since = unstarted_since_.find(task.task_id);
    const int64_t first = since == unstarted_since_.end() ? heartbeats->count : since->second;
    if (heartbeats->count < first + 2 || heartbeats->spool_depth > 0) {
      still_unstarted[task.task_id] = first;
    } else if (task.task_id.rfind("inference/", 0) == 0) {
      cluster_.ForgetInference(task.task_id);
    } else {
      LogFailure("cannot free a slot", store_.Write([&](Transaction& transaction) {
        WF_ASSIGN_OR_RETURN(JobRecord record,
                            transaction.GetJob(task.task_id.substr(0, task.task_id.find('/'))));
        OnTaskVanished(record, task.task_id, clock_.Now());
        return transaction.PutJob(record);
      }));
    }
  }
  unstarted_since_ = std::move(still_unstarted);
}

void ControlLoop::RemoveDeletedDirectories() {
  const absl::Duration begun = clock_.Monotonic();
  std::erase_if(failed_removals_, [&](const auto& entry) { return entry.second <= begun; });
  std::vector<std::string> directories;
  std::string last;
  do {
    const absl::Status read = store_.Read([&](StoreReader& reader) {
      WF_ASSIGN_OR_RETURN(directories, reader.PendingDeletions(last));
      return absl::OkStatus();
    });
    if (!read.ok()) return;
    for (const std::string& directory : directories) {
      last = directory;
      if (failed_removals_.contains(directory)) continue;
      RemoveDirectory(directory);
      if (clock_.Monotonic() - begun >= kRemovalBudget) return;
    }
  } while (!directories.empty());
}

void ControlLoop::RemoveDirectory(const std::string& directory) {
  const std::filesystem::path path = storage_root_ / directory;
  std::error_code error;
  // Without its manifest it is no checkpoint any more, however far the removal gets.
  std::filesystem::remove(path / kManifestFile, error);
  std::filesystem::remove_all(path, error);
  if (error) {
    spdlog::warn("cannot remove {}: {}; tried again later", path.string(), error.message());
    failed_removals_[directory] = clock_.Monotonic() + kRemovalRetryInterval;
    return;
  }
  LogFailure("cannot record a removal", store_.Write([&](Transaction& transaction) {
    return transaction.DeletionDone(directory);
  }));
}

}  // namespace wavefield::coordinator
