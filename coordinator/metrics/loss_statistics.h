#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace wavefield::coordinator {

// The recent losses of one attempt, and which of them are spikes: finite ones, from the attempt's
// 50th step on, that lie more than 6 standard deviations (of at least 0.001 nats) above the mean.
// Both are exponentially weighted over about 100 steps.
class LossStatistics {
 public:
  // Takes the next loss in; true if it is a spike. A spike enters as 6 deviations above the mean,
  // so that the next one is noticed as well.
  bool TakeSpike(double loss) {
    if (!std::isfinite(loss)) return false;
    const double limit = mean_ + 6 * std::max(std::sqrt(variance_), 1e-3);
    const bool spike = ++steps_ >= kFirstStep && loss > limit;
    const double weight = std::max(1.0 / static_cast<double>(steps_), 1.0 / kWindow);
    const double difference = (spike ? limit : loss) - mean_;
    mean_ += weight * difference;
    variance_ = (1 - weight) * (variance_ + weight * difference * difference);
    return spike;
  }

 private:
  static constexpr int64_t kFirstStep = 50;
  static constexpr double kWindow = 100;

  int64_t steps_ = 0;
  double mean_ = 0;
  double variance_ = 0;
};

}  // namespace wavefield::coordinator
