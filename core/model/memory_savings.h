#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/model/config/model_config.h"
#include "core/model/config/training_config.h"

namespace wavefield {

// A change of how a model is trained with which a rank needs less memory.
struct MemorySaving {
  std::string change;  // "training.micro_batch_size to 2"
  int64_t bytes = 0;   // what a rank needs then: EstimateMemory().total()
};

// The changes with which a rank needs at most `limit` bytes, at most two, cheapest first: bf16
// where the device has it, smaller micro-batches, recomputing mixers, then blocks, shorter pieces
// of the window; together, where none is enough alone. Empty: none is. Cost: some dozen times that
// of EstimateMemory(). REQUIRES: valid, every default filled in.
std::vector<MemorySaving> CheapestSavings(const ModelConfig& config, const TrainingConfig& training,
                                          int threads, const std::string& device, int64_t limit,
                                          int64_t world_size = 1);

// What to do, for a message: "set training.precision to 'bf16' (3.21 GiB) or
// training.micro_batch_size to 2 (2.10 GiB)".
std::string Advice(std::span<const MemorySaving> savings);

}  // namespace wavefield
