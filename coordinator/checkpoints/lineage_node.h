#pragma once

#include "coordinator/checkpoints/catalogue.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {

// What a checkpoint shows of itself in a lineage.
inline wavefield::v1::LineageNode LineageNodeOf(const wavefield::v1::Checkpoint& checkpoint) {
  wavefield::v1::LineageNode node;
  node.set_name(checkpoint.name());
  node.set_parent(checkpoint.parent());
  node.set_fork(!checkpoint.parent().empty() &&
                JobOfCheckpoint(checkpoint.parent()) != JobOfCheckpoint(checkpoint.name()));
  node.set_step(checkpoint.step());
  node.set_attempt(checkpoint.attempt());
  node.set_loss(checkpoint.loss());
  node.set_evaluation_loss(checkpoint.evaluation_loss());
  node.set_pinned(checkpoint.pinned());
  *node.mutable_create_time() = checkpoint.create_time();
  return node;
}

}  // namespace wavefield::coordinator
