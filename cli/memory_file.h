#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/file.h"

namespace wavefield {

// A file without a name that holds `contents` and is on no disk, read from its beginning on.
absl::StatusOr<FileDescriptor> MemoryFile(const std::string& contents);

}  // namespace wavefield
