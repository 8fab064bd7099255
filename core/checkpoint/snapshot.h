#pragma once

#include <cstdint>
#include <vector>

#include "core/checkpoint/safetensors.h"

namespace wavefield {

// Copies, in memory of the host, of what one rank writes of a checkpoint: they can be written while
// training changes the originals. Not thread-safe.
class ShardSnapshot {
 public:
  // Lists as for WriteCheckpointShard; what they view must outlive it. Takes the memory for all
  // copies to come.
  ShardSnapshot(std::vector<NamedTensor> model, std::vector<NamedTensor> optimizer, int rank,
                int world_size);
  ShardSnapshot(ShardSnapshot&&) = default;  // its tensors view its memory

  // Copies the tensors of this rank as they are now.
  void Take();

  // For WriteCheckpointShard: all tensors, of which those of other ranks have no memory.
  const std::vector<NamedTensor>& model() const { return model_; }
  const std::vector<NamedTensor>& optimizer() const { return optimizer_; }

  uint64_t bytes() const { return memory_.size() * sizeof(float); }

 private:
  std::vector<NamedTensor> sources_;  // of this rank, in the order of memory_
  std::vector<NamedTensor> model_;
  std::vector<NamedTensor> optimizer_;
  std::vector<float> memory_;
};

}  // namespace wavefield
