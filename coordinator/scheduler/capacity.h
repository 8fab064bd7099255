#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

// Its device, and enough memory as far as that is known.
bool Suits(const SchedulerSnapshot::Host& host, const SchedulerSnapshot::QueuedJob& job);

// What is left of the hosts while a plan is made. The snapshot must outlive it.
class Capacity {
 public:
  explicit Capacity(const SchedulerSnapshot& snapshot);

  struct Count {
    int64_t total = 0;
    int64_t free = 0;
  };
  // Of slots that suit the job.
  Count For(const SchedulerSnapshot::QueuedJob& job) const;

  // As few workers as can be, in neighbouring ranks: the smallest one that takes all, else the
  // largest first. REQUIRES as many free ones as the job needs.
  std::vector<SlotOfRank> Take(const SchedulerSnapshot::QueuedJob& job);

 private:
  struct Left {
    const SchedulerSnapshot::Host* host;
    std::vector<int32_t> free;
  };
  std::vector<Left> left_;
};

// Who holds the snapshot's slots that suit the job, and how many: "jobs/x", "an evaluation" …
std::map<std::string, int64_t> HoldersOf(const SchedulerSnapshot& snapshot,
                                         const SchedulerSnapshot::QueuedJob& job);

}  // namespace wavefield::coordinator
