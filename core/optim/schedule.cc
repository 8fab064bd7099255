#include "core/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace wavefield {
namespace {

// The share of [begin, end] that `step` has gone.
double Progress(double step, double begin, double end) {
  return std::clamp((step - begin) / std::max(1.0, end - begin), 0.0, 1.0);
}

}  // namespace

double ScheduleFactor(const TrainingConfig& config, int64_t step) {
  if (step <= config.warmup_steps) {
    return static_cast<double>(step) / static_cast<double>(config.warmup_steps);
  }
  if (config.schedule == "constant") return 1;
  const auto at = static_cast<double>(step), warmup = static_cast<double>(config.warmup_steps);
  const auto end = static_cast<double>(config.max_steps);
  double left = 0;  // of the way from final_ratio to 1
  if (config.schedule == "cosine") {
    left = 0.5 * (1.0 + std::cos(std::numbers::pi * Progress(at, warmup, end)));
  } else if (config.schedule == "linear") {
    left = 1.0 - Progress(at, warmup, end);
  } else {
    left = 1.0 - Progress(at, std::max(warmup, end * (1.0 - config.decay_ratio)), end);
  }
  return config.final_ratio + (1.0 - config.final_ratio) * left;
}

double LearningRate(const TrainingConfig& config, int64_t step) {
  return config.learning_rate * ScheduleFactor(config, step);
}

}  // namespace wavefield
