#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {

// Reads all files of a checkpoint and hashes them. Returns what is wrong with those that are not as
// they were catalogued, "model.safetensors: is missing"; none: all are. `progress` is told the
// bytes that are done, at least every 16 MiB, and ends the work with CANCELLED when it returns
// false. UNAVAILABLE or PERMISSION_DENIED when it could not be found out.
absl::StatusOr<std::vector<std::string>> FindDamage(
    const std::filesystem::path& directory, const wavefield::v1::Checkpoint& checkpoint,
    const std::function<bool(int64_t bytes)>& progress);

}  // namespace wavefield::coordinator
