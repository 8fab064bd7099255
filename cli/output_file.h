#pragma once

#include <string>

#include "absl/status/status.h"

namespace wavefield {

// Makes `contents` those of the file `path`, all of them or none, or writes them to stdout where
// `path` is "-". INVALID_ARGUMENT where `path` is something else than a file.
absl::Status WriteOutput(const std::string& path, const std::string& contents);

}  // namespace wavefield
