#include "core/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace wavefield {

double LearningRate(const TrainingConfig& config, int64_t step) {
  if (step <= config.warmup_steps) {
    return config.learning_rate * static_cast<double>(step) /
           static_cast<double>(config.warmup_steps);
  }
  if (config.schedule == "constant") return config.learning_rate;
  const double length =
      static_cast<double>(std::max<int64_t>(1, config.max_steps - config.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - config.warmup_steps) / length);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return config.learning_rate * (config.final_ratio + (1.0 - config.final_ratio) * cosine);
}

}  // namespace wavefield
