#pragma once

#include <string>
#include <vector>

#include "coordinator/scheduler/arrangement.h"
#include "coordinator/scheduler/snapshot.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

struct SchedulerPlan {
  struct Start {
    std::string job;
    std::vector<SlotOfRank> ranks;  // worker and slot of each
  };
  struct Wait {
    std::string job;
    wavefield::v1::JobReason reason;
    std::string message;
  };
  // Running jobs that write their checkpoints and end, so that `job` can start.
  struct Preemption {
    std::string job;
    std::vector<std::string> victims;
  };
  std::vector<Start> starts;
  std::vector<Wait> waits;
  std::vector<Preemption> preemptions;
};

// Arrange(), and why each job waits that does not start. A pure function of the snapshot.
SchedulerPlan Schedule(const SchedulerSnapshot& snapshot);

// "needs 2 cpu slots".
std::string NeedOf(const SchedulerSnapshot::QueuedJob& job);
// "2 cpu slots".
std::string SlotsText(int64_t count, const std::string& device);
// "on the cordoned workers/a".
std::string PlaceOf(const SchedulerSnapshot::AbsentHost& absent);

}  // namespace wavefield::coordinator
