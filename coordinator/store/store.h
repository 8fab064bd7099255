#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/records.pb.h"
#include "wavefield/v1/audit_service.pb.h"
#include "wavefield/v1/checkpoint_service.pb.h"
#include "wavefield/v1/history.pb.h"

namespace wavefield::coordinator {

// Request ids are remembered for so long.
inline constexpr absl::Duration kRequestRetention = absl::Hours(24);
// Steps of a job's history that are kept: the newest so many.
inline constexpr int64_t kStepRetention = 1'000'000;
// Points of a job's field health that are kept: the newest so many.
inline constexpr int64_t kFieldHealthRetention = 200;

// Entries of the audit log that are kept: the newest so many.
inline constexpr int64_t kAuditRetention = 1'000'000;

// An answer given earlier to a mutating call.
struct RequestRecord {
  std::string payload_hash;
  std::string answer;  // serialized
};

struct JobQuery {
  std::optional<wavefield::v1::JobState> state;
  int64_t before_create_revision = INT64_MAX;  // exclusive
  int limit = 100;
};

// A place in a job's history: points are ordered by (step, attempt).
struct HistoryPosition {
  int64_t step = 0;
  int32_t attempt = INT32_MAX;  // exclusive together with `step`
};

struct History {
  std::vector<wavefield::v1::StepMetrics> steps;
  std::vector<wavefield::v1::EvaluationResult> evaluations;
  int64_t revision = 0;  // of the newest point, 0 if none
  bool more = false;     // the limit cut it off
};

// Deleted jobs that are remembered, for those who watch: the newest so many.
inline constexpr int64_t kDeletedJobRetention = 10'000;

// What became of jobs after some revision.
struct JobChanges {
  std::vector<JobRecord> jobs;       // in the order in which they changed last
  std::vector<std::string> deleted;  // ids of those that do not exist now
  int64_t revision = 0;              // of the newest change here; of the store if that is all
  bool more = false;                 // the limit cut it off
  int64_t store_revision = 0;
  int64_t forgotten_revision = 0;  // what was deleted up to here is no longer known
};

// Jobs in one state for one reason. The reason is UNSPECIFIED of those that were last written by
// a program that did not keep it in a column.
struct JobCount {
  wavefield::v1::JobState state = wavefield::v1::JOB_STATE_UNSPECIFIED;
  wavefield::v1::JobReason reason = wavefield::v1::JOB_REASON_UNSPECIFIED;
  int64_t count = 0;
};

// One consistent state. Job ids, dataset ids and worker ids are bare ("a", not "jobs/a");
// checkpoints go by their full names. NOT_FOUND names what is not there; DATA_LOSS a row whose
// checksum is wrong.
class StoreReader {
 public:
  virtual ~StoreReader() = default;
  virtual absl::StatusOr<JobRecord> GetJob(const std::string& id) = 0;
  // The last epoch of a job of this id that was deleted; 0: none is remembered.
  virtual absl::StatusOr<int64_t> LastEpochOfDeleted(const std::string& id) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<JobRecord>> ListJobs(const JobQuery& query) = 0;
  // Those that have not ended or still have a task that holds a slot, oldest first.
  virtual absl::StatusOr<std::vector<JobRecord>> LiveJobs() = 0;
  virtual absl::StatusOr<std::vector<JobCount>> CountJobs() = 0;
  // What changed after `revision`, in the order in which it did, at most `limit` jobs.
  virtual absl::StatusOr<JobChanges> JobsAfterRevision(int64_t revision, int limit) = 0;

  // What came after `revision`, in the order in which it came, at most `limit` points.
  virtual absl::StatusOr<History> HistoryAfterRevision(const std::string& job, int64_t revision,
                                                       int limit) = 0;
  // Steps after `position`, every `stride`-th, in order of steps.
  virtual absl::StatusOr<std::vector<wavefield::v1::StepMetrics>> ListSteps(
      const std::string& job, HistoryPosition position, int64_t stride, int limit) = 0;
  // first < step ≤ last.
  virtual absl::StatusOr<std::vector<wavefield::v1::EvaluationResult>> ListEvaluations(
      const std::string& job, int64_t first, int64_t last) = 0;
  // Newest first, each with its revision. `before`: revision, exclusive.
  virtual absl::StatusOr<std::vector<std::pair<int64_t, wavefield::v1::FieldHealth>>>
  ListFieldHealth(const std::string& job, int64_t before, int limit) = 0;

  // Newest first; all jobs if `job` is empty. `before`: revision, exclusive.
  virtual absl::StatusOr<std::vector<std::pair<int64_t, wavefield::v1::Checkpoint>>>
  ListCheckpoints(const std::string& job, int64_t before, int limit) = 0;
  virtual absl::StatusOr<wavefield::v1::Checkpoint> GetCheckpoint(const std::string& name) = 0;
  // Removed checkpoints from which something in the catalogue descends.
  virtual absl::StatusOr<std::vector<wavefield::v1::LineageNode>> RemovedCheckpoints() = 0;

  virtual absl::StatusOr<DatasetRecord> GetDataset(const std::string& id) = 0;
  // In order of names, those after `after`.
  virtual absl::StatusOr<std::vector<DatasetRecord>> ListDatasets(const std::string& after,
                                                                  int limit) = 0;
  virtual absl::StatusOr<std::vector<WorkerRecord>> ListWorkers() = 0;
  virtual absl::StatusOr<std::optional<WorkerRecord>> FindWorker(const std::string& id) = 0;
  // 0 for one never heard of.
  virtual absl::StatusOr<int64_t> AcknowledgedSequence(const std::string& worker,
                                                       const std::string& incarnation) = 0;
  virtual absl::StatusOr<std::optional<RequestRecord>> FindRequest(const std::string& id) = 0;
  // Newest first. `before`: sequence, exclusive.
  virtual absl::StatusOr<std::vector<wavefield::v1::AuditEntry>> ListAuditEntries(int64_t before,
                                                                                  int limit) = 0;
  // Directories that are to be removed from storage: the next 100 after `after`, in order.
  virtual absl::StatusOr<std::vector<std::string>> PendingDeletions(const std::string& after) = 0;
  virtual absl::StatusOr<bool> IsDeletionPending(const std::string& directory) = 0;
  // … or something below it.
  virtual absl::StatusOr<bool> IsDeletionPendingIn(const std::string& directory) = 0;
  virtual absl::StatusOr<std::string> GetRendezvous(const std::string& job, int64_t epoch,
                                                    const std::string& key) = 0;
};

class Transaction : public StoreReader {
 public:
  // Inserts or replaces; gives the job a new revision, and an etag if it has none.
  virtual absl::Status PutJob(JobRecord& record) = 0;
  // Removes a job with its history and queues the directory of its checkpoints for removal.
  // REQUIRES: none of these is in the catalogue any more.
  virtual absl::Status DeleteJob(const JobRecord& record) = 0;
  // An existing point of the same step and attempt is replaced.
  virtual absl::Status PutStep(const std::string& job, const wavefield::v1::StepMetrics& step) = 0;
  virtual absl::Status PutEvaluation(const std::string& job,
                                     const wavefield::v1::EvaluationResult& evaluation) = 0;
  virtual absl::Status PutFieldHealth(const std::string& job,
                                      const wavefield::v1::FieldHealth& health) = 0;
  // Inserts, or replaces what is said of one; its place in the order of revisions stays.
  virtual absl::Status PutCheckpoint(const std::string& job,
                                     const wavefield::v1::Checkpoint& checkpoint) = 0;
  // Removes the row and queues its directory for removal. As long as something descends from it, it
  // is one of RemovedCheckpoints().
  virtual absl::Status DeleteCheckpoint(const wavefield::v1::Checkpoint& checkpoint) = 0;
  virtual absl::Status DeletionDone(const std::string& directory) = 0;
  virtual absl::Status PutDataset(const std::string& id, const DatasetRecord& record) = 0;
  virtual absl::Status PutWorker(const std::string& id, const WorkerRecord& record) = 0;
  virtual absl::Status RemoveWorker(const std::string& id) = 0;
  virtual absl::Status SetAcknowledgedSequence(const std::string& worker,
                                               const std::string& incarnation,
                                               int64_t sequence) = 0;
  virtual absl::Status PutRequest(const std::string& id, const RequestRecord& record,
                                  absl::Time now) = 0;
  // Gives the entry its sequence number, and drops the one that is no longer kept.
  virtual absl::Status AddAuditEntry(wavefield::v1::AuditEntry& entry) = 0;
  virtual absl::Status PutRendezvous(const std::string& job, int64_t epoch, const std::string& key,
                                     const std::string& value) = 0;
  // Of epochs before `epoch`.
  virtual absl::Status DropRendezvous(const std::string& job, int64_t epoch) = 0;
};

// Durable state. Thread-safe.
class Store {
 public:
  virtual ~Store() = default;
  // Runs `body` alone, in the order of calls, and returns when what it wrote is durable. An error
  // of `body` undoes what it wrote and is returned. `body` must not call the store.
  // RESOURCE_EXHAUSTED when too many wait; UNAVAILABLE when a failed disk has closed the store.
  virtual absl::Status Write(std::function<absl::Status(Transaction&)> body) = 0;
  // Runs `body` on the calling thread over one committed state.
  virtual absl::Status Read(const std::function<absl::Status(StoreReader&)>& body) = 0;
};

}  // namespace wavefield::coordinator
