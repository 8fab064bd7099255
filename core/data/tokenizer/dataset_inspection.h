#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace wavefield {

struct InspectionOptions {
  int samples = 3;
  int sample_tokens = 64;
  int frequent_tokens = 20;
  // Training tokens that frequencies and document lengths are taken of, at most.
  int64_t scanned_tokens = int64_t{1} << 26;
};

// What a dataset looks like: the JSON form of wavefield.v1.DatasetInspection (without `dataset`),
// whose fields are described in proto/wavefield/v1/dataset_service.proto. Files are opened, not
// verified. Errors are those of Dataset::Open and Tokenizer::Load.
absl::StatusOr<nlohmann::ordered_json> InspectDataset(const std::filesystem::path& directory,
                                                      const InspectionOptions& options);

}  // namespace wavefield
