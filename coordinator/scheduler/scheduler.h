#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

// Everything the scheduler looks at, at one moment.
struct SchedulerSnapshot {
  struct Slot {
    int32_t index = 0;
    std::string holder;  // "jobs/x", "an evaluation", …; empty: free
  };
  struct Host {
    std::string worker;  // id; several hosts are one worker's when its slots differ
    std::string device;
    int64_t memory_per_slot = 0;  // bytes; 0: unknown
    std::vector<Slot> slots;
  };
  struct QueuedJob {
    std::string id;
    int priority = 0;
    int64_t age = 0;  // smaller is older
    int world_size = 1;
    std::string device;
    int64_t memory = 0;           // of one rank, bytes
    int ranks_still_running = 0;  // of an attempt before
  };

  std::vector<Host> hosts;  // those that can take work
  std::vector<QueuedJob> queue;
  std::map<std::string, std::string> unfit;  // device → one that is there and why it is of no use
};

struct SchedulerPlan {
  struct Start {
    std::string job;
    // Worker and slot of each rank.
    std::vector<std::pair<std::string, int32_t>> ranks;
  };
  struct Wait {
    std::string job;
    wavefield::v1::JobReason reason;
    std::string message;
  };
  std::vector<Start> starts;
  std::vector<Wait> waits;
};

// Higher priority first, then the older job. A job gets all of its slots or none, on as few workers
// as can be, in neighbouring ranks. A job that waits for slots which others hold keeps all later
// jobs of its device waiting, so that none is passed by for ever; one that needs more slots than
// there are holds nobody up. Pure.
SchedulerPlan Schedule(const SchedulerSnapshot& snapshot);

}  // namespace wavefield::coordinator
