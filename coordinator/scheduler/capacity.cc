#include "coordinator/scheduler/capacity.h"

#include <algorithm>

namespace wavefield::coordinator {

bool Suits(const SchedulerSnapshot::Host& host, const SchedulerSnapshot::QueuedJob& job) {
  return host.device == job.device &&
         (host.memory_per_slot == 0 || host.memory_per_slot >= job.memory);
}

Capacity::Capacity(const SchedulerSnapshot& snapshot) {
  for (const SchedulerSnapshot::Host& host : snapshot.hosts) {
    Left& left = left_.emplace_back(Left{&host, {}});
    for (const SchedulerSnapshot::Slot& slot : host.slots) {
      if (slot.holder.empty()) left.free.push_back(slot.index);
    }
  }
}

Capacity::Count Capacity::For(const SchedulerSnapshot::QueuedJob& job) const {
  Count count;
  for (const Left& left : left_) {
    if (!Suits(*left.host, job)) continue;
    count.total += static_cast<int64_t>(left.host->slots.size());
    count.free += static_cast<int64_t>(left.free.size());
  }
  return count;
}

std::vector<SlotOfRank> Capacity::Take(const SchedulerSnapshot::QueuedJob& job) {
  std::vector<SlotOfRank> ranks;
  size_t needed = static_cast<size_t>(job.world_size);
  while (needed > 0) {
    Left* best = nullptr;
    for (Left& left : left_) {
      if (left.free.empty() || !Suits(*left.host, job)) continue;
      const size_t have = left.free.size();
      const size_t best_have = best == nullptr ? 0 : best->free.size();
      const bool better =
          have >= needed ? best_have < needed || have < best_have : have > best_have;
      if (better) best = &left;
    }
    const size_t count = std::min(needed, best->free.size());
    for (size_t i = 0; i < count; ++i) ranks.emplace_back(best->host->worker, best->free[i]);
    best->free.erase(best->free.begin(), best->free.begin() + static_cast<std::ptrdiff_t>(count));
    needed -= count;
  }
  return ranks;
}

std::map<std::string, int64_t> HoldersOf(const SchedulerSnapshot& snapshot,
                                         const SchedulerSnapshot::QueuedJob& job) {
  std::map<std::string, int64_t> held;
  for (const SchedulerSnapshot::Host& host : snapshot.hosts) {
    if (!Suits(host, job)) continue;
    for (const SchedulerSnapshot::Slot& slot : host.slots) {
      if (!slot.holder.empty()) ++held[slot.holder];
    }
  }
  return held;
}

}  // namespace wavefield::coordinator
