#pragma once

#include <string>
#include <vector>

#include "cli/views/view_style.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield {

// The table of `wavefield checkpoints list`.
std::string FormatCheckpoints(const std::vector<v1::Checkpoint>& checkpoints,
                              const ViewStyle& style);
// The page of `wavefield checkpoints show`.
std::string FormatCheckpoint(const v1::Checkpoint& checkpoint, const ViewStyle& style);

// What becomes of each, and why. `would`: it is only asked for.
std::string FormatDecisions(const std::vector<v1::CheckpointDecision>& decisions, bool would,
                            const ViewStyle& style);
std::string FormatOrphans(const std::vector<v1::OrphanDirectory>& orphans, const ViewStyle& style);

// Two checkpoints side by side; of more than 20 tensors those that moved furthest, unless wide.
std::string FormatDiff(const v1::DiffCheckpointsResponse& diff, const ViewStyle& style);

// The tree that hangs together with `name`, a checkpoint or a job, whose own lines are marked.
std::string FormatLineage(const v1::Lineage& lineage, const std::string& name,
                          const ViewStyle& style);

}  // namespace wavefield
