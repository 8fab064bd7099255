#pragma once

#include <string>
#include <vector>

#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

// What is added to a priority for the time waited, at most.
inline constexpr double kMostAging = 500;

// The priority by which the queue is ordered: its own, and what its waiting adds.
double EffectivePriority(const SchedulerSnapshot& snapshot,
                         const SchedulerSnapshot::QueuedJob& job);

// What becomes of one job of the queue, without words.
struct Decision {
  enum class Verdict {
    kStarts,
    kWaitsForRanks,  // of its attempt before
    kTooFewSlots,    // all there are would not do
    kWaitsForQuota,  // its labels' share is held, or too small for it
    kWaitsForTurn,   // `after` comes first
    kWaitsForSlots,  // the first of its line
  };
  const SchedulerSnapshot::QueuedJob* job = nullptr;
  double effective_priority = 0;
  Verdict verdict = Verdict::kTooFewSlots;
  // Slots that suit it, as they are when its turn comes.
  int64_t total = 0;
  int64_t free = 0;
  std::vector<SlotOfRank> ranks = {};  // kStarts
  std::string after = {};              // kWaitsForTurn: the id of a job
  std::string quota = {};              // kWaitsForQuota: "KEY=VALUE", how much of it is held
  int64_t quota_limit = 0;
  int64_t quota_used = 0;
  std::vector<std::string> victims = {};  // jobs that should make room for it from now on
};

// The queue in the order in which it is considered: jobs that others make room for, then the higher
// effective priority, then the older; but a job that age has brought forward stays behind those
// that would take its slots by their own priority. A job gets all of its slots or none. One that
// waits for slots which others hold keeps all later jobs of its device waiting, and one that waits
// for its quota later jobs of that quota, so that none is passed by for ever; one that needs more
// than there will be holds nobody up. Refers to the snapshot. Pure.
std::vector<Decision> Arrange(const SchedulerSnapshot& snapshot);

}  // namespace wavefield::coordinator
