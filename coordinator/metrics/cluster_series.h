#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/metrics/series_table.h"
#include "coordinator/store/store.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// What is shown of the cluster and the coordinator as a whole, as of a scrape. Not thread-safe.
class ClusterSeries {
 public:
  // `directories`: those whose file systems are watched, by the names under which they are shown.
  ClusterSeries(SeriesTable& table, std::map<std::string, std::filesystem::path> directories)
      : table_(table), directories_(std::move(directories)) {}

  void ShowJobs(const std::vector<JobCount>& counts);
  void ShowWorkers(const std::vector<wavefield::v1::Worker>& workers);
  // Disks, this process, and how many series there are; what was not shown again since the last
  // call vanishes. After everything else was shown.
  void ShowItself();

 private:
  SeriesTable& table_;
  const std::map<std::string, std::filesystem::path> directories_;
  SeriesGroup series_{table_, {}};
};

}  // namespace wavefield::coordinator
