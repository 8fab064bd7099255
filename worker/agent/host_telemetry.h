#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

// What the kernel tells of this host's load. Thread-safe.
class HostMeter {
 public:
  // `state_directory`: whose file system's space is told. `proc`: where the kernel tells it.
  explicit HostMeter(std::filesystem::path state_directory, std::filesystem::path proc = "/proc");

  // All but the spool. The CPUs' utilization is that since the last call, or since construction.
  // What the kernel does not tell is left out.
  v1::HostTelemetry Read();

 private:
  // Of all CPUs together, since the host's start; in ticks.
  struct CpuTime {
    int64_t idle = 0;
    int64_t total = 0;
  };
  std::optional<CpuTime> ReadCpuTime() const;
  void AddMemory(v1::HostTelemetry& telemetry) const;

  const std::filesystem::path state_directory_;
  const std::filesystem::path proc_;
  absl::Mutex mutex_;
  std::optional<CpuTime> last_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wavefield
