#pragma once

#include <string>
#include <vector>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// The store's tables over one connection, inside a transaction that its user begins and ends.
class SqliteTransaction final : public Transaction {
 public:
  // `revision`: the last that was given out; grows with what is written.
  SqliteTransaction(SqliteConnection& connection, int64_t& revision)
      : connection_(connection), revision_(revision) {}

  // Jobs written so far, in order.
  std::vector<JobRecord> TakeWrittenJobs() { return std::move(written_jobs_); }
  // Ids of jobs that were deleted; what was written of them before is not among the written.
  std::vector<std::string> TakeDeletedJobs() { return std::move(deleted_jobs_); }

  absl::StatusOr<JobRecord> GetJob(const std::string& id) override;
  absl::StatusOr<int64_t> LastEpochOfDeleted(const std::string& id) override;
  absl::StatusOr<std::vector<JobRecord>> ListJobs(const JobQuery& query) override;
  absl::StatusOr<std::vector<JobRecord>> LiveJobs() override;
  absl::StatusOr<std::vector<JobCount>> CountJobs() override;
  absl::StatusOr<JobChanges> JobsAfterRevision(int64_t revision, int limit) override;
  absl::StatusOr<History> HistoryAfterRevision(const std::string& job, int64_t revision,
                                               int limit) override;
  absl::StatusOr<std::vector<wavefield::v1::StepMetrics>> ListSteps(const std::string& job,
                                                                    HistoryPosition position,
                                                                    int64_t stride,
                                                                    int limit) override;
  absl::StatusOr<std::vector<wavefield::v1::EvaluationResult>> ListEvaluations(
      const std::string& job, int64_t first, int64_t last) override;
  absl::StatusOr<std::vector<std::pair<int64_t, wavefield::v1::FieldHealth>>> ListFieldHealth(
      const std::string& job, int64_t before, int limit) override;
  absl::StatusOr<std::vector<std::pair<int64_t, wavefield::v1::Checkpoint>>> ListCheckpoints(
      const std::string& job, int64_t before, int limit) override;
  absl::StatusOr<wavefield::v1::Checkpoint> GetCheckpoint(const std::string& name) override;
  absl::StatusOr<std::vector<wavefield::v1::LineageNode>> RemovedCheckpoints() override;
  absl::StatusOr<DatasetRecord> GetDataset(const std::string& id) override;
  absl::StatusOr<std::vector<DatasetRecord>> ListDatasets(const std::string& after,
                                                          int limit) override;
  absl::StatusOr<std::vector<WorkerRecord>> ListWorkers() override;
  absl::StatusOr<std::optional<WorkerRecord>> FindWorker(const std::string& id) override;
  absl::StatusOr<int64_t> AcknowledgedSequence(const std::string& worker,
                                               const std::string& incarnation) override;
  absl::StatusOr<std::optional<RequestRecord>> FindRequest(const std::string& id) override;
  absl::StatusOr<std::vector<wavefield::v1::AuditEntry>> ListAuditEntries(int64_t before,
                                                                          int limit) override;
  absl::StatusOr<std::vector<std::string>> PendingDeletions(const std::string& after) override;
  absl::StatusOr<bool> IsDeletionPending(const std::string& directory) override;
  absl::StatusOr<bool> IsDeletionPendingIn(const std::string& directory) override;
  absl::StatusOr<std::string> GetRendezvous(const std::string& job, int64_t epoch,
                                            const std::string& key) override;

  absl::Status PutJob(JobRecord& record) override;
  absl::Status DeleteJob(const JobRecord& record) override;
  absl::Status PutStep(const std::string& job, const wavefield::v1::StepMetrics& step) override;
  absl::Status PutEvaluation(const std::string& job,
                             const wavefield::v1::EvaluationResult& evaluation) override;
  absl::Status PutFieldHealth(const std::string& job,
                              const wavefield::v1::FieldHealth& health) override;
  absl::Status PutCheckpoint(const std::string& job,
                             const wavefield::v1::Checkpoint& checkpoint) override;
  absl::Status DeleteCheckpoint(const wavefield::v1::Checkpoint& checkpoint) override;
  absl::Status DeletionDone(const std::string& directory) override;
  absl::Status PutDataset(const std::string& id, const DatasetRecord& record) override;
  absl::Status PutWorker(const std::string& id, const WorkerRecord& record) override;
  absl::Status RemoveWorker(const std::string& id) override;
  absl::Status SetAcknowledgedSequence(const std::string& worker, const std::string& incarnation,
                                       int64_t sequence) override;
  absl::Status PutRequest(const std::string& id, const RequestRecord& record,
                          absl::Time now) override;
  absl::Status AddAuditEntry(wavefield::v1::AuditEntry& entry) override;
  absl::Status PutRendezvous(const std::string& job, int64_t epoch, const std::string& key,
                             const std::string& value) override;
  absl::Status DropRendezvous(const std::string& job, int64_t epoch) override;

 private:
  // Of `table`, those in `column`.
  absl::Status DeleteRows(const char* table, const char* column, const std::string& value);
  absl::Status ForgetOldDeletions();
  absl::StatusOr<bool> HasDescendants(const std::string& checkpoint);
  // Forgets removed checkpoints, from `name` on upwards, from which nothing descends.
  absl::Status ForgetRemovedWithoutDescendants(std::string name);

  SqliteConnection& connection_;
  int64_t& revision_;
  std::vector<JobRecord> written_jobs_;
  std::vector<std::string> deleted_jobs_;
};

}  // namespace wavefield::coordinator
