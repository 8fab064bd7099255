#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield::coordinator {

// INVALID_ARGUMENT with every number that is out of its bounds.
absl::Status CheckInspectRequest(const wavefield::v1::InspectDatasetRequest& request);

// Runs `wavefield-tokenizer inspect` on a dataset's directory; `dataset` is left to the caller.
// DEADLINE_EXCEEDED after `timeout`. Blocks. REQUIRES: the request was checked.
absl::StatusOr<wavefield::v1::DatasetInspection> RunInspection(
    const std::filesystem::path& program, const std::filesystem::path& directory,
    const wavefield::v1::InspectDatasetRequest& request, absl::Duration timeout);

}  // namespace wavefield::coordinator
