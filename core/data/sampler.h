#pragma once

#include <cstdint>
#include <vector>

#include "core/base/rng.h"

namespace wavefield {

// Which windows of a token stream make up each batch. A window is sequence_length + 1 tokens:
// inputs and, one later, their targets; neighbouring windows share one token, so that every token
// but the first is a target. A tail shorter than a window is left out.
//
// The windows of batch `index` are a function of (tokens, sequence_length, batch_size, seed, index)
// alone: not of ranks, threads or the order of calls. Windows are dealt in epochs; each epoch
// visits every window once, in a permutation of its own. A batch may span epochs. O(1) memory.
// Immutable; thread-safe.
class BatchSampler {
 public:
  // REQUIRES: sequence_length >= 1, batch_size >= 1, tokens >= sequence_length + 1.
  BatchSampler(int64_t tokens, int64_t sequence_length, int64_t batch_size, uint64_t seed);

  // The first token of each of the batch_size windows. REQUIRES: index >= 0.
  std::vector<int64_t> Batch(int64_t index) const;

  // Windows in the stream.
  int64_t windows() const { return windows_; }

 private:
  int64_t Permute(int64_t epoch, int64_t slot) const;

  int64_t sequence_length_;
  int64_t batch_size_;
  int64_t windows_;
  int half_bits_;  // a permuted number has twice as many bits
  RandomStream keys_;
};

}  // namespace wavefield
