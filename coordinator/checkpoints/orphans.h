#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// The directories with checkpoints below the storage root that belong to nothing: to no checkpoint
// in the catalogue, no attempt under way, no removal that is still to be done, and no upload. Of
// one job, or of all if `job` is empty. At most 1000, found in at most 100,000 directories; nothing
// is removed.
absl::StatusOr<std::vector<wavefield::v1::OrphanDirectory>> FindOrphans(
    Store& store, const std::filesystem::path& storage_root, const std::string& job);

}  // namespace wavefield::coordinator
