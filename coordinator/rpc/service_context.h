#pragma once

#include <filesystem>
#include <string>

#include "coordinator/cluster/cluster.h"
#include "coordinator/logs/log_store.h"
#include "coordinator/metrics/job_series.h"
#include "coordinator/rpc/executor.h"
#include "coordinator/store/store.h"
#include "core/base/clock.h"

namespace wavefield::coordinator {

// What the services work on. Everything outlives them.
struct ServiceContext {
  Store& store;
  Cluster& cluster;
  LeaseTable& leases;
  CoordinatorMetrics& metrics;
  JobSeries& series;
  const Clock& clock;
  Executor& calls;    // unary calls of clients
  Executor& reports;  // unary calls of workers
  Executor& streams;  // one thread per stream
  std::filesystem::path storage_root;
  std::string storage_probe;
  absl::Duration heartbeat_interval;
  LogStore& logs;
};

// How long a stream's body sleeps at most before it looks whether its client is still there.
inline constexpr absl::Duration kStreamPoll = absl::Milliseconds(200);

}  // namespace wavefield::coordinator
