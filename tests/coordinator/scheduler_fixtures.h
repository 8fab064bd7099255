#pragma once

#include <string>
#include <vector>

#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

// One slot for each holder; "" is a free one.
inline SchedulerSnapshot::Host Host(const std::string& worker,
                                    const std::vector<std::string>& holders,
                                    const std::string& device = "cpu", int64_t memory = 0) {
  SchedulerSnapshot::Host host{worker, device, memory, {}};
  for (const std::string& holder : holders) {
    host.slots.push_back({static_cast<int32_t>(host.slots.size()), holder});
  }
  return host;
}

inline SchedulerSnapshot::QueuedJob Job(const std::string& id, int world_size, int64_t age,
                                        int priority = 0) {
  SchedulerSnapshot::QueuedJob job;
  job.id = id;
  job.world_size = world_size;
  job.age = age;
  job.priority = priority;
  job.device = "cpu";
  return job;
}

inline SchedulerSnapshot::HoldingJob Holding(const std::string& id, int64_t slots, int priority = 0,
                                             double lost_work = 0) {
  SchedulerSnapshot::HoldingJob job;
  job.id = id;
  job.slots = slots;
  job.priority = priority;
  job.lost_work = lost_work;
  return job;
}

}  // namespace wavefield::coordinator
