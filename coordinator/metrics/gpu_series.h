#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "coordinator/metrics/coordinator_metrics.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// Keeps the series of GPUs. Thread-safe.
class GpuSeries {
 public:
  explicit GpuSeries(CoordinatorMetrics& metrics) : metrics_(metrics) {}

  // Shows the GPUs of these workers, and no others any more.
  void Show(const std::vector<wavefield::v1::Worker>& workers);

 private:
  using Gauge = prometheus::Gauge;

  CoordinatorMetrics& metrics_;
  std::mutex mutex_;
  std::map<Gauge*, prometheus::Family<Gauge>*> shown_;
};

}  // namespace wavefield::coordinator
