#include "coordinator/checkpoints/collection.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <vector>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/checkpoints/listing.h"
#include "coordinator/checkpoints/removal.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Checkpoint;
using wavefield::v1::CheckpointDecision;

constexpr int kMaxSelected = 10'000;

// Their lists of files would not fit an answer with thousands of them.
Checkpoint WithoutFiles(Checkpoint checkpoint) {
  checkpoint.clear_files();
  return checkpoint;
}

// Decisions on whole jobs, each read once.
class Jobs {
 public:
  struct Decided {
    JobRecord record;
    DecidedCheckpoints checkpoints;
    std::map<std::string, size_t> index;  // by name
    bool changed = false;
  };

  Jobs(StoreReader& reader, Transaction* transaction, const CheckpointReads& reads)
      : reader_(reader), transaction_(transaction), reads_(reads) {}

  absl::StatusOr<Decided*> Find(const std::string& job) {
    if (const auto known = jobs_.find(job); known != jobs_.end()) return &known->second;
    if (!needs_) {
      WF_ASSIGN_OR_RETURN(needs_, FindNeeds(reader_, reads_));
    }
    Decided decided;
    WF_ASSIGN_OR_RETURN(decided.record, reader_.GetJob(job));
    WF_ASSIGN_OR_RETURN(decided.checkpoints, DecideCheckpoints(reader_, decided.record, *needs_));
    for (size_t i = 0; i < decided.checkpoints.checkpoints.size(); ++i) {
      decided.index[decided.checkpoints.checkpoints[i].name()] = i;
    }
    return &jobs_.emplace(job, std::move(decided)).first->second;
  }

  absl::Status Remove(Decided& job, const Checkpoint& checkpoint) {
    if (transaction_ == nullptr) return absl::OkStatus();
    const std::string latest = job.record.job().latest_checkpoint();
    WF_RETURN_IF_ERROR(RemoveCheckpoint(*transaction_, job.record, checkpoint));
    job.changed |= job.record.job().latest_checkpoint() != latest;
    return absl::OkStatus();
  }

  absl::Status Save() {
    for (auto& [id, job] : jobs_) {
      if (job.changed) WF_RETURN_IF_ERROR(transaction_->PutJob(job.record));
    }
    return absl::OkStatus();
  }

 private:
  StoreReader& reader_;
  Transaction* const transaction_;
  const CheckpointReads& reads_;
  std::optional<std::map<std::string, std::string>> needs_;
  std::map<std::string, Decided> jobs_;
};

std::string WhatToDo(const RetentionDecision& decision) {
  if (decision.needed == "pinned") return "it is pinned: unpin it first";
  return fmt::format("{}; pause or end what needs it, or delete the job as a whole",
                     decision.needed);
}

}  // namespace

absl::StatusOr<Checkpoint> DeleteByName(StoreReader& reader, Transaction* transaction,
                                        const CheckpointReads& reads, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const Checkpoint checkpoint, ResolveCheckpoint(reader, name));
  Jobs jobs(reader, transaction, reads);
  WF_ASSIGN_OR_RETURN(Jobs::Decided * job, jobs.Find(JobOfCheckpoint(checkpoint.name())));
  const RetentionDecision& decision = job->checkpoints.decisions[job->index.at(checkpoint.name())];
  if (!decision.needed.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("{} cannot be removed: {}", checkpoint.name(), WhatToDo(decision)));
  }
  WF_RETURN_IF_ERROR(jobs.Remove(*job, checkpoint));
  WF_RETURN_IF_ERROR(jobs.Save());
  return checkpoint;
}

absl::Status DeleteByFilter(StoreReader& reader, Transaction* transaction,
                            const CheckpointReads& reads,
                            const wavefield::v1::DeleteCheckpointsRequest& request,
                            wavefield::v1::DeleteCheckpointsResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string parent, JobOfParent(reader, request.parent()));
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseCheckpointFilter(request.filter()));
  if (filter.empty()) {
    return InvalidField("filter", "is empty; say which checkpoints are meant, \"step<1000\"");
  }
  std::vector<Checkpoint> selected;
  size_t bytes = 0;
  WF_RETURN_IF_ERROR(VisitCheckpoints(reader, parent, INT64_MAX, [&](int64_t, Checkpoint& c) {
    if (!filter.Matches(LookUpIn(c))) return true;
    Checkpoint shown = WithoutFiles(std::move(c));
    bytes += shown.ByteSizeLong() + 100;
    if (selected.size() == kMaxSelected || bytes > kMaxListBytes) {
      response.set_more(true);
      return false;
    }
    selected.push_back(std::move(shown));
    return true;
  }));
  Jobs jobs(reader, transaction, reads);
  for (Checkpoint& checkpoint : selected) {
    WF_ASSIGN_OR_RETURN(Jobs::Decided * job, jobs.Find(JobOfCheckpoint(checkpoint.name())));
    const RetentionDecision& found = job->checkpoints.decisions[job->index.at(checkpoint.name())];
    CheckpointDecision& decision = *response.add_decisions();
    decision.set_removed(found.needed.empty() && found.kept_unless_named.empty());
    decision.set_reason(decision.removed() ? "selected" : found.reason());
    if (decision.removed()) WF_RETURN_IF_ERROR(jobs.Remove(*job, checkpoint));
    *decision.mutable_checkpoint() = std::move(checkpoint);
  }
  return jobs.Save();
}

absl::Status CollectByRules(StoreReader& reader, Transaction* transaction,
                            const CheckpointReads& reads, const std::string& parent,
                            wavefield::v1::CollectGarbageResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string one, JobOfParent(reader, parent));
  std::set<std::string> ids;
  if (one.empty()) {
    WF_RETURN_IF_ERROR(VisitCheckpoints(reader, "", INT64_MAX, [&](int64_t, const Checkpoint& c) {
      ids.insert(JobOfCheckpoint(c.name()));
      return true;
    }));
  } else {
    ids.insert(one);
  }
  Jobs jobs(reader, transaction, reads);
  size_t bytes = 0;
  for (const std::string& id : ids) {
    WF_ASSIGN_OR_RETURN(Jobs::Decided * job, jobs.Find(id));
    for (size_t i = 0; i < job->checkpoints.checkpoints.size(); ++i) {
      const Checkpoint& checkpoint = job->checkpoints.checkpoints[i];
      const RetentionDecision& found = job->checkpoints.decisions[i];
      CheckpointDecision& decision = *response.add_decisions();
      *decision.mutable_checkpoint() = WithoutFiles(checkpoint);
      decision.set_removed(!found.kept());
      decision.set_reason(found.reason());
      bytes += decision.ByteSizeLong();
      if (bytes > kMaxListBytes) {
        return absl::ResourceExhaustedError(
            "there are more checkpoints than one answer can hold: ask for one job at a time, and "
            "remove what is not needed with a filter first");
      }
      if (found.kept()) continue;
      response.set_removed_bytes(response.removed_bytes() + checkpoint.bytes());
      WF_RETURN_IF_ERROR(jobs.Remove(*job, checkpoint));
    }
  }
  return jobs.Save();
}

}  // namespace wavefield::coordinator
