#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/checkpoints/reads.h"
#include "coordinator/metrics/job_series.h"
#include "coordinator/store/store.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

struct EventOutcome {
  int64_t acknowledged_sequence = 0;
  // Of inference tasks: not durable, for whoever waits for them.
  std::vector<wavefield::v1::WorkerEvent> inference;
  // What trainings reported, in order. A checkpoint that was not catalogued is one that failed;
  // what a checkpoint's manifest says is left out.
  std::vector<TrainingEvent> training;
};

// Takes a worker's report into the store: each event once, in order. FAILED_PRECONDITION when
// sequence numbers are missing. Events of an epoch that is over change nothing but the bookkeeping
// of slots.
absl::StatusOr<EventOutcome> ApplyEvents(Transaction& transaction, const std::string& worker,
                                         const std::string& incarnation,
                                         const wavefield::v1::ReportEventsRequest& request,
                                         const CheckpointReads& reads, absl::Time now);

}  // namespace wavefield::coordinator
