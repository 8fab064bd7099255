#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/metrics/coordinator_metrics.h"
#include "coordinator/store/records.pb.h"
#include "core/base/clock.h"

namespace wavefield::coordinator {

// Keeps the series of live jobs up to date, and retires those of jobs that have ended. Thread-safe.
class JobSeries {
 public:
  JobSeries(CoordinatorMetrics& metrics, const Clock& clock, absl::Duration retention)
      : metrics_(metrics), clock_(clock), retention_(retention) {}

  void JobsCommitted(const std::vector<JobRecord>& records);
  void CountNonFiniteSteps(const std::vector<std::string>& jobs);
  // Removes the series of jobs that ended longer than the retention ago.
  void Retire();

 private:
  struct Series {
    prometheus::Gauge* loss;
    prometheus::Gauge* perplexity;
    prometheus::Gauge* evaluation_loss = nullptr;  // from the first evaluation on
    prometheus::Gauge* learning_rate;
    prometheus::Gauge* grad_norm;
    prometheus::Gauge* step;
    prometheus::Gauge* token_rate;
    prometheus::Gauge* matmul_rate_ratio;
    prometheus::Counter* tokens;
    prometheus::Counter* restarts;
    prometheus::Counter* non_finite_steps;
    absl::Duration ended_at = absl::InfiniteDuration();
  };

  Series& Of(const std::string& job);

  CoordinatorMetrics& metrics_;
  const Clock& clock_;
  const absl::Duration retention_;
  std::mutex mutex_;
  std::map<std::string, Series> series_;
};

}  // namespace wavefield::coordinator
