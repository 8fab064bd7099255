#pragma once

#include <string>

#include "cli/views/view_style.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

// The table of `wavefield workers`, and the one of their GPUs where there are any.
std::string FormatWorkers(const v1::ListWorkersResponse& workers, const ViewStyle& style);

// "host READY, cordoned: new disk; 2 of 4 slots used".
std::string FormatWorkerLine(const v1::Worker& worker);

// That line, or the Worker as JSON.
void PrintWorker(const v1::Worker& worker, bool json);

}  // namespace wavefield
