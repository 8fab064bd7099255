#pragma once

#include <cstdint>
#include <string>

#include "core/model/config/model_config.h"
#include "core/model/config/training_config.h"

namespace wavefield {

// REQUIRES a valid configuration, all of these.
int64_t ParameterCount(const ModelConfig& config);
// Those in matrix products, as often as a token meets them, the tied embedding once: what model
// FLOPs count.
int64_t MatrixParameterCount(const ModelConfig& config);
// Of training, forward and backward: 6 × MatrixParameterCount.
double ModelFlopsPerToken(const ModelConfig& config);

// Peak memory of one training rank on its device, bytes.
struct MemoryEstimate {
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;    // its state and what it works with
  int64_t snapshot = 0;     // on the CPU: copies that checkpoints are written from, at most
  int64_t activations = 0;  // the arena of a training pass, at most 1e18
  int64_t workspace = 0;    // kernels' scratch, libraries, program
  int64_t reserved = 0;     // of workspace: for Backend::ReserveWorkspace
  int64_t shared = 0;       // of a block's shared memory on device cuda, of the kernel that asks
                            // for most; not part of total()
  int64_t total() const {
    return parameters + gradients + optimizer + snapshot + activations + workspace;
  }
};

// Runs a training pass on a backend that computes nothing and counts. Cost: milliseconds; long
// windows, many pieces and large batches are extended from small ones. threads: of a rank on the
// CPU. REQUIRES: valid, every default filled in.
MemoryEstimate EstimateMemory(const ModelConfig& config, const TrainingConfig& training,
                              int threads, const std::string& device = "cpu",
                              int64_t world_size = 1);

}  // namespace wavefield
