#include "coordinator/metrics/cluster_series.h"

#include <sys/statvfs.h>

#include <map>

#include "coordinator/cluster/slot_groups.h"
#include "coordinator/metrics/label_values.h"
#include "coordinator/metrics/process_stat.h"
#include "core/base/version.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

// Those that jobs can be in: shown also while none is.
constexpr std::pair<JobState, JobReason> kUsualReasons[] = {
    {JOB_STATE_QUEUED, JOB_REASON_UNSPECIFIED},
    {JOB_STATE_QUEUED, JOB_REASON_WAITING_FOR_SLOTS},
    {JOB_STATE_QUEUED, JOB_REASON_WAITING_FOR_WORKERS},
    {JOB_STATE_QUEUED, JOB_REASON_WAITING_FOR_JOB},
    {JOB_STATE_QUEUED, JOB_REASON_WAITING_FOR_QUOTA},
    {JOB_STATE_QUEUED, JOB_REASON_WAITING_FOR_TURN},
    {JOB_STATE_QUEUED, JOB_REASON_RESTARTING},
    {JOB_STATE_QUEUED, JOB_REASON_PREEMPTED},
    {JOB_STATE_QUEUED, JOB_REASON_WORKER_DRAINED},
    {JOB_STATE_STARTING, JOB_REASON_UNSPECIFIED},
    {JOB_STATE_RUNNING, JOB_REASON_UNSPECIFIED},
    {JOB_STATE_STOPPING, JOB_REASON_CANCELLED_BY_USER},
    {JOB_STATE_STOPPING, JOB_REASON_PAUSED_BY_USER},
    {JOB_STATE_STOPPING, JOB_REASON_PREEMPTED},
    {JOB_STATE_STOPPING, JOB_REASON_WORKER_DRAINED},
    {JOB_STATE_PAUSED, JOB_REASON_PAUSED_BY_USER},
    {JOB_STATE_SUCCEEDED, JOB_REASON_BUDGET_REACHED},
    {JOB_STATE_SUCCEEDED, JOB_REASON_UPLOADED},
    {JOB_STATE_FAILED, JOB_REASON_RANK_DIED},
    {JOB_STATE_FAILED, JOB_REASON_RANK_ERROR},
    {JOB_STATE_FAILED, JOB_REASON_WORKER_LOST},
    {JOB_STATE_FAILED, JOB_REASON_RESTARTS_EXHAUSTED},
    {JOB_STATE_FAILED, JOB_REASON_DEPENDENCY_FAILED},
    {JOB_STATE_CANCELLED, JOB_REASON_CANCELLED_BY_USER}};

void ShowDisk(SeriesGroup& series, const std::string& name, const std::filesystem::path& path) {
  struct statvfs disk {};
  if (::statvfs(path.c_str(), &disk) != 0) return;
  const auto block = static_cast<double>(disk.f_frsize);
  const auto set = [&](const Metric& metric, fsblkcnt_t blocks) {
    series.Set(metric, block * static_cast<double>(blocks), {{"directory", name}});
  };
  set(metric::kDiskSize, disk.f_blocks);
  set(metric::kDiskFree, disk.f_bavail);
}

void ShowProcess(SeriesGroup& series) {
  const auto stat = ReadProcessStat();
  if (!stat.ok()) return;
  series.Set(metric::kProcessStart, stat->start_time);
  series.RaiseTo(metric::kProcessCpu, stat->cpu_seconds);
  series.Set(metric::kProcessMemory, static_cast<double>(stat->resident_bytes));
  series.Set(metric::kProcessFiles, static_cast<double>(stat->open_files));
}

}  // namespace

void ClusterSeries::ShowJobs(const std::vector<JobCount>& counts) {
  std::map<std::pair<JobState, JobReason>, int64_t> jobs;
  for (const auto& usual : kUsualReasons) jobs[usual] = 0;
  for (const JobCount& count : counts) jobs[{count.state, count.reason}] = count.count;
  for (const auto& [kind, count] : jobs) {
    series_.Set(metric::kJobs, static_cast<double>(count),
                {{"state", NameOf(kind.first)}, {"reason", NameOf(kind.second)}});
  }
}

void ClusterSeries::ShowWorkers(const std::vector<Worker>& workers) {
  int ready = 0;
  // Device → used, free. A GPU that something is in the way of is neither.
  std::map<std::string, std::pair<int, int>> slots = {{"cpu", {}}, {kCuda, {}}};
  for (const Worker& worker : workers) {
    if (worker.state() != WORKER_STATE_READY) continue;
    ++ready;
    slots[worker.device()].first += worker.used_slots();
    slots[worker.device()].second += worker.slots() - worker.used_slots();
    for (const Gpu& gpu : worker.gpus()) {
      if (!gpu.holder().empty()) {
        ++slots[kCuda].first;
      } else if (gpu.unavailable().empty()) {
        ++slots[kCuda].second;
      }
    }
  }
  series_.Set(metric::kWorkers, ready, {{"state", "ready"}});
  series_.Set(metric::kWorkers, static_cast<double>(std::ssize(workers) - ready),
              {{"state", "lost"}});
  for (const auto& [device, counts] : slots) {
    series_.Set(metric::kWorkerSlots, counts.first, {{"device", device}, {"state", "used"}});
    series_.Set(metric::kWorkerSlots, counts.second, {{"device", device}, {"state", "free"}});
  }
}

void ClusterSeries::ShowItself() {
  for (const auto& [name, path] : directories_) ShowDisk(series_, name, path);
  ShowProcess(series_);
  series_.Set(metric::kBuildInfo, 1, {{"version", kVersion}});
  series_.Set(metric::kSeries, static_cast<double>(table_.shown()));
  series_.RaiseTo(metric::kSeriesDropped, static_cast<double>(table_.refused()));
  series_.Sweep();
}

}  // namespace wavefield::coordinator
