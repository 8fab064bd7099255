#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wavefield {

enum class InputFormat { kText, kJsonLines };

struct InputFile {
  std::filesystem::path path;
  InputFormat format = InputFormat::kText;
  bool gzip = false;
  int64_t bytes = 0;  // on disk; 0 where it is not a regular file
};

struct InputList {
  std::vector<InputFile> files;      // in the order in which they are read
  std::vector<std::string> ignored;  // files in folders whose extension says nothing to us
};

// Finds the files to read. A folder is searched recursively, in the order of its paths, for .txt
// and .jsonl, and those followed by .gz or .dz; a file that is named itself is text unless its name
// says .jsonl. NOT_FOUND where a path does not exist or nothing is found.
absl::StatusOr<InputList> ListInputs(std::span<const std::filesystem::path> paths);

}  // namespace wavefield
