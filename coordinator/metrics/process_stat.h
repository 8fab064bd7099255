#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace wavefield::coordinator {

struct ProcessStat {
  double start_time = 0;   // seconds since the epoch
  double cpu_seconds = 0;  // user and system
  int64_t resident_bytes = 0;
  int64_t open_files = 0;
};

// Of this process, now. UNAVAILABLE where there is no /proc.
absl::StatusOr<ProcessStat> ReadProcessStat();

}  // namespace wavefield::coordinator
