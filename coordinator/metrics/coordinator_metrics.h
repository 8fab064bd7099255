#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

#include "absl/time/time.h"

namespace wavefield::coordinator {

// What is counted and measured where it happens. What is shown as of a scrape, and what belongs to
// a job or a worker, is in a SeriesTable. Thread-safe.
struct CoordinatorMetrics {
  explicit CoordinatorMetrics(prometheus::Registry& registry);

  prometheus::Family<prometheus::Histogram>& rpc_seconds;  // {method, code}
  prometheus::Counter& unauthenticated;
  prometheus::Histogram& commit_seconds;
  prometheus::Histogram& scheduler_pass_seconds;
  prometheus::Histogram& queue_wait_seconds;
  prometheus::Histogram& checkpoint_save_seconds;
  prometheus::Counter& workers_lost;
  prometheus::Gauge& watches;

  void ObserveRpc(const std::string& method, const std::string& code, absl::Duration duration);
};

// Counts a watch as long as it is open.
class OpenWatch {
 public:
  explicit OpenWatch(CoordinatorMetrics& metrics) : watches_(metrics.watches) {
    watches_.Increment();
  }
  ~OpenWatch() { watches_.Decrement(); }
  OpenWatch(const OpenWatch&) = delete;
  OpenWatch& operator=(const OpenWatch&) = delete;

 private:
  prometheus::Gauge& watches_;
};

}  // namespace wavefield::coordinator
