#pragma once

#include <cstdint>

#include "core/model/config/training_config.h"

namespace wavefield {

// What learning rates are multiplied by at optimizer step `step` (1-based). Linear from 0 to 1 over
// warmup_steps, then by schedule:
//   constant  1
//   cosine    half a cosine that reaches final_ratio at max_steps
//   linear    a straight line that does
//   wsd       1, and over the last decay_ratio · max_steps steps a straight line to final_ratio
//             (warmup, stable, decay: Hu et al., arXiv 2404.06395)
double ScheduleFactor(const TrainingConfig& config, int64_t step);

// The schedule's learning rate, before the multipliers of parameter groups.
double LearningRate(const TrainingConfig& config, int64_t step);

}  // namespace wavefield
