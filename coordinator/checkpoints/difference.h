#pragma once

#include <filesystem>
#include <functional>

#include "absl/status/status.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {

// Compares `response.a()` with `response.b()`, whose files lie below `storage_root`: fills in the
// rest. The weights are read piece by piece, and sums are formed in double precision.
// INVALID_ARGUMENT when one has more than 8 GiB of weights; DATA_LOSS when its files are not as
// they were written; CANCELLED soon after `cancelled` returns true.
absl::Status Compare(const std::filesystem::path& storage_root,
                     const std::function<bool()>& cancelled,
                     wavefield::v1::DiffCheckpointsResponse& response);

}  // namespace wavefield::coordinator
