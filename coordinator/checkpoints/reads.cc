#include "coordinator/checkpoints/reads.h"

#include "coordinator/checkpoints/catalogue.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

CheckpointReads::Hold::~Hold() {
  if (reads_ == nullptr) return;
  std::lock_guard lock(reads_->mutex_);
  reads_->readers_.erase(entry_);
}

CheckpointReads::Hold CheckpointReads::Begin(const std::string& directory,
                                             const std::string& reader) {
  std::lock_guard lock(mutex_);
  return Hold(this, readers_.emplace(directory, reader));
}

std::map<std::string, std::string> CheckpointReads::Needs() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::string> needs;
  for (const auto& [directory, reader] : readers_) {
    needs.emplace(directory, reader + " read it now");
  }
  return needs;
}

absl::StatusOr<HeldCheckpoint> HoldCheckpoint(Store& store, CheckpointReads& reads,
                                              const std::string& name, const std::string& reader) {
  HeldCheckpoint held;
  WF_RETURN_IF_ERROR(store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(held.checkpoint, ResolveCheckpoint(transaction, name));
    held.hold = reads.Begin(held.checkpoint.directory(), reader);
    return absl::OkStatus();
  }));
  return held;
}

}  // namespace wavefield::coordinator
