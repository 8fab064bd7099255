#pragma once

#include <cstdint>

#include "core/model/config/training_config.h"

namespace wavefield {

// Learning rate of optimizer step `step` (1-based): linear from 0 over warmup_steps to
// learning_rate, then constant, or a half cosine that reaches final_ratio · learning_rate at
// max_steps.
double LearningRate(const TrainingConfig& config, int64_t step);

}  // namespace wavefield
