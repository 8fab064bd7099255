#include "coordinator/metrics/worker_series.h"

#include <algorithm>

#include "coordinator/jobs/names.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

double SecondsOf(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

void ShowHost(SeriesGroup& series, const HostTelemetry& host) {
  const auto set = [&](const Metric& metric, bool known, auto value) {
    if (known) series.Set(metric, static_cast<double>(value));
  };
  set(metric::kCpuUtilization, host.has_cpu_utilization(), host.cpu_utilization());
  set(metric::kMemory, host.has_memory_bytes(), host.memory_bytes());
  set(metric::kMemoryUsed, host.has_memory_used_bytes(), host.memory_used_bytes());
  set(metric::kWorkerDiskSize, host.has_disk_bytes(), host.disk_bytes());
  set(metric::kWorkerDiskFree, host.has_disk_free_bytes(), host.disk_free_bytes());
  set(metric::kSpoolSize, host.has_spool_bytes(), host.spool_bytes());
}

void ShowGpu(SeriesGroup& series, const Gpu& gpu) {
  const std::string index = std::to_string(gpu.index());
  const auto set = [&](const Metric& metric, bool known, auto value) {
    if (known) series.Set(metric, static_cast<double>(value), {{"gpu", index}});
  };
  const GpuTelemetry& now = gpu.telemetry();
  series.Set(metric::kGpuInfo, 1, {{"gpu", index}, {"model", gpu.model()}});
  set(metric::kGpuAvailable, true, gpu.unavailable().empty() ? 1 : 0);
  set(metric::kGpuMemory, true, gpu.memory_bytes());
  set(metric::kGpuMemoryUsed, now.has_memory_used_bytes(), now.memory_used_bytes());
  set(metric::kGpuUtilization, now.has_utilization(), now.utilization());
  set(metric::kGpuTemperature, now.has_temperature_celsius(), now.temperature_celsius());
  set(metric::kGpuPower, now.has_power_watts(), now.power_watts());
  set(metric::kGpuEccErrors, now.has_uncorrected_ecc_errors(), now.uncorrected_ecc_errors());
  set(metric::kGpuLastXid, gpu.has_telemetry(), now.last_xid());
  set(metric::kGpuThrottled, now.has_throttled(), now.throttled() ? 1 : 0);
}

void ShowReady(SeriesGroup& series, const Worker& worker) {
  // GPUs are slots beside `slots`; those that a job holds count.
  const auto held_gpus = std::count_if(worker.gpus().begin(), worker.gpus().end(),
                                       [](const Gpu& gpu) { return !gpu.holder().empty(); });
  series.Set(metric::kWorkerUsedSlots, static_cast<double>(worker.used_slots() + held_gpus));
  series.Set(metric::kHeartbeatAge, SecondsOf(worker.heartbeat_age()));
  if (worker.has_clock_difference()) {
    series.Set(metric::kClockDifference, SecondsOf(worker.clock_difference()));
  }
  series.Set(metric::kSpoolDepth, static_cast<double>(worker.spool_depth()));
  ShowHost(series, worker.host());
  for (const Gpu& gpu : worker.gpus()) ShowGpu(series, gpu);
}

}  // namespace

void WorkerSeries::Show(const std::vector<Worker>& workers) {
  const std::lock_guard lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  for (const Worker& worker : workers) {
    const bool ready = worker.state() == WORKER_STATE_READY;
    if (!ready && !worker.has_heartbeat_age() && !workers_.contains(worker.name())) continue;
    Shown& shown = workers_[worker.name()];
    shown.known = true;
    shown.lost_at = ready ? absl::InfiniteDuration() : std::min(shown.lost_at, now);
    if (shown.lost_at + retention_ <= now) {
      shown.series.reset();
      continue;
    }
    if (shown.series == nullptr) {
      shown.series =
          std::make_unique<SeriesGroup>(table_, SeriesLabels{{"worker", IdIn(worker.name())}});
    }
    shown.series->Set(metric::kWorkerUp, ready ? 1 : 0);
    if (ready) ShowReady(*shown.series, worker);
    shown.series->Sweep();
  }
  std::erase_if(workers_, [](const auto& entry) { return !entry.second.known; });
  for (auto& [name, shown] : workers_) shown.known = false;
}

}  // namespace wavefield::coordinator
