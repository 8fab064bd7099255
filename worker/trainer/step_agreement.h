#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/comm/communicator.h"
#include "core/model/model.h"
#include "worker/trainer/checkpoint_saver.h"
#include "worker/trainer/events.h"

namespace wavefield {

// What one rank says after a step.
struct StepShare {
  LossSums sums;  // of its windows
  PhaseSeconds phases;
  bool stop = false;          // a stop was asked for
  bool budget = false;        // the time is used up
  bool save_due = false;      // by the clock
  SaveShare save;             // of the checkpoint that is being written
  uint64_t batch_digest = 0;  // of its windows
};

// What the ranks make of it together.
struct StepAgreement {
  LossSums sums;
  PhaseSeconds phases;  // mean over the ranks
  bool stop = false;    // if any rank says so, like the next two
  bool budget = false;
  bool save_due = false;
  SaveShare save;
  uint64_t batch_digest = 0;  // sum modulo 2^64
  // How much longer the slowest rank took than the fastest to read its data, forward and backward.
  double rank_skew_seconds = 0;
  int slowest_rank = 0;
};

// Another number for everything that changes what Agree() sends: ranks of different numbers must
// not train together.
inline constexpr int kStepReports = 3;

// Called by all ranks together; the same on each.
absl::StatusOr<StepAgreement> Agree(const StepShare& mine, Communicator& communicator);

}  // namespace wavefield
