#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield {

// One file on this host, and what the coordinator is told of it.
struct LocalSource {
  std::filesystem::path file;
  std::string path;  // relative, without "..", unique; of text, its extension tells the format
  int64_t bytes = 0;
  std::string sha256;  // empty until HashSources()
  v1::SourceKind kind = v1::SOURCE_KIND_UNSPECIFIED;
};

// The files that `inputs` name: each file itself (as text, unless its name says otherwise), and of
// each directory all .txt and .jsonl below it, also with .gz or .dz, sorted by path. NOT_FOUND for
// an input that is not there; INVALID_ARGUMENT for one without text and for more than 10,000 files.
absl::StatusOr<std::vector<LocalSource>> FindSources(const std::vector<std::string>& inputs);

// Adds `files`, which the user named with `flag`, as sources of a kind, under names that `sources`
// do not have yet. NOT_FOUND for one that is not there, INVALID_ARGUMENT for one that is empty or
// no file.
absl::Status AddFilesOfKind(const std::vector<std::string>& files, const std::string& flag,
                            v1::SourceKind kind, std::vector<LocalSource>& sources);

// Fills in `sha256` and `bytes`. `on_progress` gets the bytes read so far, over all sources.
absl::Status HashSources(std::vector<LocalSource>& sources,
                         const std::function<void(int64_t)>& on_progress);

}  // namespace wavefield
