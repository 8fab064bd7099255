#include "worker/agent/host_telemetry.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace wavefield {

HostMeter::HostMeter(std::filesystem::path state_directory, std::filesystem::path proc)
    : state_directory_(std::move(state_directory)), proc_(std::move(proc)), last_(ReadCpuTime()) {}

v1::HostTelemetry HostMeter::Read() {
  v1::HostTelemetry telemetry;
  AddMemory(telemetry);
  struct statvfs disk {};
  if (::statvfs(state_directory_.c_str(), &disk) == 0) {
    telemetry.set_disk_bytes(static_cast<int64_t>(disk.f_blocks * disk.f_frsize));
    telemetry.set_disk_free_bytes(static_cast<int64_t>(disk.f_bavail * disk.f_frsize));
  }
  const absl::MutexLock lock(&mutex_);
  const std::optional<CpuTime> now = ReadCpuTime();
  const std::optional<CpuTime> before = std::exchange(last_, now);
  if (now && before && now->total > before->total) {
    const double idle = static_cast<double>(now->idle - before->idle) /
                        static_cast<double>(now->total - before->total);
    telemetry.set_cpu_utilization(std::clamp(1 - idle, 0.0, 1.0));
  }
  return telemetry;
}

std::optional<HostMeter::CpuTime> HostMeter::ReadCpuTime() const {
  // "cpu" and ticks: user nice system idle iowait irq softirq steal; what follows is in user and
  // nice already.
  std::ifstream file(proc_ / "stat");
  std::string name;
  CpuTime time;
  if (!(file >> name) || name != "cpu") return std::nullopt;
  for (int i = 0; i < 8; ++i) {
    int64_t ticks = 0;
    if (!(file >> ticks)) return std::nullopt;
    if (i == 3 || i == 4) time.idle += ticks;
    time.total += ticks;
  }
  return time;
}

void HostMeter::AddMemory(v1::HostTelemetry& telemetry) const {
  // Lines like "MemTotal:  16384 kB".
  std::ifstream file(proc_ / "meminfo");
  int64_t total = -1;
  int64_t available = -1;
  std::string name, unit;
  for (int64_t kilobytes = 0; file >> name >> kilobytes;) {
    if (name == "MemTotal:") total = kilobytes << 10;
    if (name == "MemAvailable:") available = kilobytes << 10;
    std::getline(file, unit);
  }
  if (total < 0) return;
  telemetry.set_memory_bytes(total);
  if (available >= 0) telemetry.set_memory_used_bytes(std::max<int64_t>(0, total - available));
}

}  // namespace wavefield
