#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "wavefield/v1/checkpoint_service.pb.h"
#include "wavefield/v1/dataset_service.pb.h"
#include "wavefield/v1/job_service.pb.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

// All that a report tells of.
struct ReportData {
  v1::Job job;
  // All attempts' steps and evaluations, oldest first; of the steps every `stride`-th.
  v1::ListMetricsResponse history;
  int64_t stride = 1;
  std::vector<v1::Checkpoint> checkpoints;      // newest first
  std::vector<v1::Worker> workers;              // of the cluster, now
  std::optional<v1::FieldHealth> field_health;  // at the newest evaluation that has it
  std::optional<v1::Dataset> dataset;           // none: not catalogued any more
  absl::Time written;
};

// One HTML page that refers to nothing outside of it and has no scripts. Below 2 MB if there are at
// most 20,000 steps: long tables are cut, and say so.
std::string RenderReport(const ReportData& data);

}  // namespace wavefield
