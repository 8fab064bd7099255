#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "cli/source_files.h"
#include "wavefield/v1/dataset_service.pb.h"

namespace wavefield {

// The second half of every command that makes a dataset: hashes `sources`, sends them with `config`
// (which lacks them), shows how far it is on stderr and prints the dataset. The exit code, or the
// error.
absl::StatusOr<int> CreateAndPrintDataset(const ConnectionFlags& connection,
                                          v1::CreateDatasetConfig config,
                                          std::vector<LocalSource> sources, bool json);

}  // namespace wavefield
