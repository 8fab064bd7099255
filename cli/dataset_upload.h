#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "cli/source_files.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield {

struct UploadResult {
  v1::Dataset dataset;
  bool existed = false;  // nothing was sent: it was prepared before
};

// Streams `sources` to the coordinator, which makes a dataset of them. `on_progress` is called from
// another thread, never concurrently. Errors: the coordinator's; ABORTED when a file changed since
// it was hashed.
absl::StatusOr<UploadResult> UploadDataset(
    const Session& session, const v1::CreateDatasetConfig& config,
    const std::vector<LocalSource>& sources,
    const std::function<void(const v1::DatasetProgress&)>& on_progress);

}  // namespace wavefield
