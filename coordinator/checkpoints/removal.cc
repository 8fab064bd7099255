#include "coordinator/checkpoints/removal.h"

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

using wavefield::v1::Checkpoint;

absl::StatusOr<std::map<std::string, std::string>> FindNeeds(StoreReader& reader,
                                                             const CheckpointReads& reads,
                                                             const JobRecord* current) {
  std::map<std::string, std::string> needs = reads.Needs();
  WF_ASSIGN_OR_RETURN(const std::vector<JobRecord> live, reader.LiveJobs());
  for (const JobRecord& stored : live) {
    const bool superseded = current != nullptr && stored.job().name() == current->job().name();
    const JobRecord& record = superseded ? *current : stored;
    if (!record.init_from_directory().empty() && !HasEnded(record.job().state())) {
      needs.emplace(record.init_from_directory(), record.job().name() + " starts from it");
    }
    if (HasAttempt(record.job().state()) && !record.training_started()) {
      for (const std::string& candidate : record.resume_candidates()) {
        needs.emplace(candidate, "an attempt reads it now");
      }
    }
  }
  return needs;
}

absl::StatusOr<DecidedCheckpoints> DecideCheckpoints(
    StoreReader& reader, const JobRecord& record, const std::map<std::string, std::string>& needs) {
  const wavefield::v1::Job& job = record.job();
  DecidedCheckpoints decided;
  WF_ASSIGN_OR_RETURN(decided.checkpoints, CheckpointsOf(reader, JobId(record)));
  decided.decisions = DecideRetention(job.spec().checkpoint(), FromTimestamp(job.create_time()),
                                      job.state() == wavefield::v1::JOB_STATE_SUCCEEDED
                                          ? NewestRule::kKeptUnlessNamed
                                          : NewestRule::kNeeded,
                                      decided.checkpoints, needs);
  return decided;
}

absl::Status RemoveCheckpoint(Transaction& transaction, JobRecord& record,
                              const Checkpoint& checkpoint) {
  WF_RETURN_IF_ERROR(transaction.DeleteCheckpoint(checkpoint));
  if (record.job().latest_checkpoint() != checkpoint.name()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const auto left, transaction.ListCheckpoints(JobId(record), INT64_MAX, 1));
  record.mutable_job()->set_latest_checkpoint(left.empty() ? "" : left[0].second.name());
  return absl::OkStatus();
}

absl::Status ApplyRetention(Transaction& transaction, JobRecord& record,
                            const CheckpointReads& reads) {
  WF_ASSIGN_OR_RETURN(const auto needs, FindNeeds(transaction, reads, &record));
  WF_ASSIGN_OR_RETURN(const DecidedCheckpoints decided,
                      DecideCheckpoints(transaction, record, needs));
  for (size_t i = 0; i < decided.checkpoints.size(); ++i) {
    if (decided.decisions[i].kept()) continue;
    WF_RETURN_IF_ERROR(RemoveCheckpoint(transaction, record, decided.checkpoints[i]));
  }
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
