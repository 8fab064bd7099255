#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/rpc/filter.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// Of filters on checkpoints.
absl::StatusOr<Filter> ParseCheckpointFilter(const std::string& text);
FilterLookup LookUpIn(const wavefield::v1::Checkpoint& checkpoint);

// The id in "jobs/{job}", or "" for "jobs/-". INVALID_ARGUMENT, or NOT_FOUND for a job that does
// not exist.
absl::StatusOr<std::string> JobOfParent(StoreReader& reader, const std::string& parent);

// Filters, orders and cuts into pages.
absl::Status FillCheckpointPage(StoreReader& reader,
                                const wavefield::v1::ListCheckpointsRequest& request,
                                wavefield::v1::ListCheckpointsResponse& response);

}  // namespace wavefield::coordinator
