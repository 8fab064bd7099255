#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace wavefield::coordinator {

// Jobs whose label `key` has `value` hold at most so many slots together.
struct Quota {
  std::string key;
  std::string value;  // "*": each value that has no quota of its own
  int64_t slots = 0;
};

struct SchedulerOptions {
  double aging = 10;            // points of priority for each hour in the queue
  int preemption_margin = 100;  // by how much a job that takes slots must come first; 0: never
  std::vector<Quota> quotas;
};

// Everything the scheduler looks at, at one moment. Jobs go by their bare ids.
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
  enum class Absence { kCordoned, kDraining, kLost, kEnding };
  struct AbsentHost {
    Host host;
    Absence why = Absence::kLost;
    std::string note;  // of whoever cordoned it
  };
  using Labels = std::map<std::string, std::string>;
  struct QueuedJob {
    std::string id;
    int priority = 0;
    int64_t age = 0;  // smaller is older
    int world_size = 1;
    std::string device;
    int64_t memory = 0;           // of one rank, bytes
    int ranks_still_running = 0;  // of an attempt before
    Labels labels = {};
    absl::Time queue_time = absl::InfiniteFuture();  // counts as now
    std::vector<std::string> preempts = {};          // ids of those that make room for it
    std::optional<absl::Duration> expected_run = {};
  };
  // A job that holds slots.
  struct HoldingJob {
    std::string id;
    int priority = 0;
    int64_t slots = 0;  // of any device
    Labels labels = {};
    double lost_work = 0;  // slot-seconds since its last checkpoint
    bool ending = false;   // frees its slots by itself soon
    std::optional<absl::Time> expected_end = {};
  };

  std::vector<Host> hosts;  // those that can take work
  std::vector<QueuedJob> queue;
  std::map<std::string, std::string> unfit =
      {};  // device → one that is there and is of no use, why
  std::vector<AbsentHost> absent = {};
  std::vector<HoldingJob> holding = {};
  SchedulerOptions options = {};
  absl::Time now = absl::UnixEpoch();
};

// Worker and slot of a rank.
using SlotOfRank = std::pair<std::string, int32_t>;

}  // namespace wavefield::coordinator
