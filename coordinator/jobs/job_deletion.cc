#include "coordinator/jobs/job_deletion.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/checkpoints/removal.h"
#include "coordinator/jobs/dependencies.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/metrics/label_values.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kNamed = 5;

}  // namespace

absl::Status CheckDeletable(StoreReader& reader, const CheckpointReads& reads,
                            const JobRecord& record) {
  const std::string& name = record.job().name();
  if (!HasEnded(record.job().state())) {
    return absl::FailedPreconditionError(
        fmt::format("{} is {}: cancel it first", name, NameOf(record.job().state())));
  }
  if (HoldsSlots(record)) {
    return absl::FailedPreconditionError(
        fmt::format("{} has ended, but its ranks have not yet: try again soon", name));
  }
  std::vector<std::string> obstacles;
  WF_ASSIGN_OR_RETURN(const auto live, reader.LiveJobs());
  for (const JobRecord& other : live) {
    if (WaitsFor(other, name)) obstacles.push_back(other.job().name() + " waits for it");
  }
  WF_ASSIGN_OR_RETURN(const auto needs, FindNeeds(reader, reads));
  WF_ASSIGN_OR_RETURN(const auto checkpoints, CheckpointsOf(reader, JobId(record)));
  for (const auto& checkpoint : checkpoints) {
    if (checkpoint.pinned()) obstacles.push_back(checkpoint.name() + " is pinned");
    const auto need = needs.find(checkpoint.directory());
    if (need != needs.end()) {
      obstacles.push_back(fmt::format("{}: {}", checkpoint.name(), need->second));
    }
  }
  if (obstacles.empty()) return absl::OkStatus();
  std::string message = name + " is still needed";
  for (size_t i = 0; i < std::min(obstacles.size(), kNamed); ++i) {
    message += (i == 0 ? ": " : "; ") + obstacles[i];
  }
  if (obstacles.size() > kNamed) {
    message += fmt::format("; and {} more", obstacles.size() - kNamed);
  }
  return absl::FailedPreconditionError(message);
}

absl::Status DeleteJobAndCheckpoints(Transaction& transaction, const JobRecord& record) {
  WF_ASSIGN_OR_RETURN(const auto checkpoints, CheckpointsOf(transaction, JobId(record)));
  for (const auto& checkpoint : checkpoints) {
    WF_RETURN_IF_ERROR(transaction.DeleteCheckpoint(checkpoint));
  }
  return transaction.DeleteJob(record);
}

}  // namespace wavefield::coordinator
