#pragma once

#include "absl/time/time.h"

namespace wavefield {

// Where time comes from, so that tests can drive it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time: for records that people read. May jump.
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary start; never goes back. For leases, deadlines and durations.
  virtual absl::Duration Monotonic() const = 0;
  // The machine's clocks. Lives for ever.
  static Clock& Real();
};

}  // namespace wavefield
