#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

inline constexpr char kCuda[] = "cuda";

// Slots of one worker that are alike.
struct SlotGroup {
  std::string device;
  int64_t memory = 0;  // of each, bytes; 0: unknown
  std::vector<int32_t> slots;
};

// All slots of a worker: those of its CPU, then those of its GPUs by memory.
std::vector<SlotGroup> SlotGroupsOf(const wavefield::v1::Worker& worker);

}  // namespace wavefield::coordinator
