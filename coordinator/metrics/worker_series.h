#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/metrics/series_table.h"
#include "core/base/clock.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// The series of workers and their GPUs, as of a scrape. Thread-safe.
class WorkerSeries {
 public:
  WorkerSeries(SeriesTable& table, const Clock& clock, absl::Duration retention)
      : table_(table), clock_(clock), retention_(retention) {}

  // Shows these, and no others any more. Of a lost worker it says that alone, for the retention
  // from the first time that it is seen so; and nothing of one that was lost before it was ever
  // seen and that nobody waits for: it may be long gone.
  void Show(const std::vector<wavefield::v1::Worker>& workers);

 private:
  struct Shown {
    std::unique_ptr<SeriesGroup> series;
    absl::Duration lost_at = absl::InfiniteDuration();
    bool known = false;  // to the call that is under way
  };

  SeriesTable& table_;
  const Clock& clock_;
  const absl::Duration retention_;
  std::mutex mutex_;
  std::map<std::string, Shown> workers_;  // by name
};

}  // namespace wavefield::coordinator
