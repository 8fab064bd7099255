#include "coordinator/cluster/slot_groups.h"

#include <numeric>

namespace wavefield::coordinator {

std::vector<SlotGroup> SlotGroupsOf(const wavefield::v1::Worker& worker) {
  std::vector<SlotGroup> groups;
  SlotGroup& own = groups.emplace_back(SlotGroup{worker.device(), worker.memory_per_slot(), {}});
  own.slots.resize(static_cast<size_t>(worker.slots()));
  std::iota(own.slots.begin(), own.slots.end(), 0);
  for (const wavefield::v1::Gpu& gpu : worker.gpus()) {
    if (gpu.slot() < 0) continue;
    if (groups.back().device != kCuda || groups.back().memory != gpu.memory_bytes()) {
      groups.push_back({kCuda, gpu.memory_bytes(), {}});
    }
    groups.back().slots.push_back(gpu.slot());
  }
  return groups;
}

}  // namespace wavefield::coordinator
