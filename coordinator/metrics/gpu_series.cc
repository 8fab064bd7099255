#include "coordinator/metrics/gpu_series.h"

#include <string>
#include <utility>

namespace wavefield::coordinator {

using wavefield::v1::Gpu;
using wavefield::v1::GpuTelemetry;
using wavefield::v1::Worker;

void GpuSeries::Show(const std::vector<Worker>& workers) {
  const std::lock_guard lock(mutex_);
  std::map<Gauge*, prometheus::Family<Gauge>*> shown;
  for (const Worker& worker : workers) {
    for (const Gpu& gpu : worker.gpus()) {
      const prometheus::Labels labels = {
          {"worker", worker.name().substr(std::string("workers/").size())},
          {"gpu", std::to_string(gpu.index())}};
      const auto set = [&](prometheus::Family<Gauge>& family, double value) {
        Gauge& gauge = family.Add(labels);
        gauge.Set(value);
        shown[&gauge] = &family;
      };
      const GpuTelemetry& now = gpu.telemetry();
      set(metrics_.gpu_available, gpu.unavailable().empty() ? 1 : 0);
      set(metrics_.gpu_memory, static_cast<double>(gpu.memory_bytes()));
      set(metrics_.gpu_last_xid, static_cast<double>(now.last_xid()));
      if (now.has_memory_used_bytes()) {
        set(metrics_.gpu_memory_used, static_cast<double>(now.memory_used_bytes()));
      }
      if (now.has_utilization()) set(metrics_.gpu_utilization, now.utilization());
      if (now.has_temperature_celsius()) {
        set(metrics_.gpu_temperature, now.temperature_celsius());
      }
      if (now.has_power_watts()) set(metrics_.gpu_power, now.power_watts());
      if (now.has_uncorrected_ecc_errors()) {
        set(metrics_.gpu_ecc_errors, static_cast<double>(now.uncorrected_ecc_errors()));
      }
    }
  }
  for (const auto& [gauge, family] : shown_) {
    if (!shown.contains(gauge)) family->Remove(gauge);
  }
  shown_ = std::move(shown);
}

}  // namespace wavefield::coordinator
