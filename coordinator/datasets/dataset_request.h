#pragma once

#include <string>

#include "absl/status/status.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield::coordinator {

// INVALID_ARGUMENT with every violation.
absl::Status CheckDatasetConfig(const wavefield::v1::CreateDatasetConfig& config);

// Whether token files are imported, not text prepared.
bool HasTokenFiles(const wavefield::v1::CreateDatasetConfig& config);

// Fills in the defaults that decide what a dataset is.
void FillDatasetDefaults(wavefield::v1::CreateDatasetConfig& config);

// Of options and sources: equal for requests that make the same dataset.
std::string SourceHash(const wavefield::v1::CreateDatasetConfig& config);

}  // namespace wavefield::coordinator
