#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/store/records.pb.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield::coordinator {

// Runs `wavefield-tokenizer prepare`, or `import` for token files, on what SourceUpload left in
// `staging`, with the result in `output`, which must not exist yet, and says what it made; name,
// directories, times and source hash are left to the caller. `progress` is called from time to
// time; CANCELLED soon after it returned false. Blocks.
absl::StatusOr<wavefield::v1::Dataset> RunTokenizer(
    const std::filesystem::path& program, const std::filesystem::path& staging,
    const std::filesystem::path& output, const wavefield::v1::CreateDatasetConfig& config,
    const std::function<bool(const wavefield::v1::DatasetProgress&)>& progress);

// Every file below `directory`, relative to it.
absl::StatusOr<DatasetRecord> CatalogueDataset(const wavefield::v1::Dataset& dataset,
                                               const std::filesystem::path& directory);

}  // namespace wavefield::coordinator
