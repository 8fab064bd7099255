#pragma once

#include "absl/time/time.h"

namespace wavefield {

// SIGINT, SIGTERM and SIGHUP as something to wait for, in place of their effect. Create it before
// any thread is started: the signals are blocked from then on.
class StopSignals {
 public:
  StopSignals();
  // True when one arrived within `timeout`.
  bool Wait(absl::Duration timeout);
};

}  // namespace wavefield
