#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wavefield {

// One file of text on this host, and what the coordinator is told of it.
struct LocalSource {
  std::filesystem::path file;
  std::string path;  // relative, without "..", unique; its extension tells the format
  int64_t bytes = 0;
  std::string sha256;  // empty until HashSources()
};

// The files that `inputs` name: each file itself (as text, unless its name says otherwise), and of
// each directory all .txt and .jsonl below it, also with .gz or .dz, sorted by path. NOT_FOUND for
// an input that is not there; INVALID_ARGUMENT for one without text and for more than 20,000 files.
absl::StatusOr<std::vector<LocalSource>> FindSources(const std::vector<std::string>& inputs);

// Fills in `sha256` and `bytes`. `on_progress` gets the bytes read so far, over all sources.
absl::Status HashSources(std::vector<LocalSource>& sources,
                         const std::function<void(int64_t)>& on_progress);

}  // namespace wavefield
