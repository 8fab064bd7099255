#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/data/dataset.h"
#include "core/data/sampler.h"
#include "core/model/config/training_config.h"

namespace wavefield {

// Inputs and next-token targets of B windows of T tokens: row b·T + t.
struct MicroBatch {
  int64_t batch = 0;
  int64_t first_window = 0;  // which windows of the global batch these are
  std::vector<int32_t> ids;
  std::vector<int32_t> targets;
};

// `count` windows of `length` targets each, the i-th beginning at starts[i].
MicroBatch ReadWindows(const TokenStream& stream, const std::vector<int64_t>& starts,
                       int64_t length);

// One rank's share of a global batch: micro-batch j goes to rank j mod world_size, so that shares
// differ by one micro-batch at most.
std::vector<MicroBatch> ReadMicroBatches(const TokenStream& stream, const BatchSampler& sampler,
                                         const TrainingConfig& config, int64_t batch_index,
                                         int rank, int world_size);

// StepMetrics.batch_digest of these windows alone: the shares of all ranks add up, modulo 2^64, to
// the digest of the global batch.
uint64_t BatchDigest(std::span<const MicroBatch> share);

}  // namespace wavefield
