#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace wavefield {

// The whole file, or of standard input where `path` is "-". RESOURCE_EXHAUSTED beyond `limit`
// bytes.
absl::StatusOr<std::string> ReadFileOrInput(const std::string& path, uint64_t limit);

// A text argument: "-" is standard input, "@FILE" a file's contents, "@@x" the text "@x", all else
// itself. INVALID_ARGUMENT when it is not UTF-8.
absl::StatusOr<std::string> ReadTextArgument(const std::string& argument, uint64_t limit);

// Place of the first byte that is not UTF-8; std::string::npos when all is.
size_t FindInvalidUtf8(const std::string& text);

}  // namespace wavefield
