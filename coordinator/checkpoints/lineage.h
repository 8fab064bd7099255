#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// Everything that hangs together with a checkpoint, or with those of a job: `name` as in
// GetLineageRequest. Within an attempt each checkpoint is the child of the one before; its first
// one is that of the checkpoint that the attempt went back to. Parents come before their children.
absl::StatusOr<wavefield::v1::Lineage> LineageOf(StoreReader& reader, const std::string& name);

}  // namespace wavefield::coordinator
