// The reading half of SqliteTransaction.
#include <fmt/format.h>

#include <algorithm>

#include "coordinator/store/record_codec.h"
#include "coordinator/store/sqlite_transaction.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Checkpoint;
using wavefield::v1::EvaluationResult;
using wavefield::v1::FieldHealth;
using wavefield::v1::StepMetrics;

// Decodes all rows of a statement whose first columns are key, record, crc.
template <typename Message>
absl::StatusOr<std::vector<Message>> DecodeRows(const char* table, SqliteStatement& statement) {
  std::vector<Message> messages;
  while (true) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return messages;
    WF_ASSIGN_OR_RETURN(
        Message message,
        DecodeRecord<Message>(table, statement.Bytes(0), statement.Bytes(1), statement.Int(2)));
    messages.push_back(std::move(message));
  }
}

// The same, with the revision in a fourth column.
template <typename Message>
absl::StatusOr<std::vector<std::pair<int64_t, Message>>> DecodeRevisions(
    const char* table, SqliteStatement& statement) {
  std::vector<std::pair<int64_t, Message>> messages;
  while (true) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return messages;
    WF_ASSIGN_OR_RETURN(
        Message message,
        DecodeRecord<Message>(table, statement.Bytes(0), statement.Bytes(1), statement.Int(2)));
    messages.emplace_back(statement.Int(3), std::move(message));
  }
}

template <typename Message>
absl::StatusOr<Message> DecodeOnly(const char* table, const std::string& key, const char* what,
                                   SqliteStatement& statement) {
  WF_ASSIGN_OR_RETURN(auto messages, DecodeRows<Message>(table, statement));
  if (messages.empty()) return absl::NotFoundError(fmt::format("there is no {} '{}'", what, key));
  return std::move(messages[0]);
}

}  // namespace

absl::StatusOr<JobRecord> SqliteTransaction::GetJob(const std::string& id) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT id, record, crc FROM jobs WHERE id = ?"));
  return DecodeOnly<JobRecord>("jobs", id, "job", statement.Bind(id));
}

absl::StatusOr<std::vector<JobRecord>> SqliteTransaction::ListJobs(const JobQuery& query) {
  const char* sql =
      query.state ? "SELECT id, record, crc FROM jobs WHERE create_revision < ? AND state = ? "
                    "ORDER BY create_revision DESC LIMIT ?"
                  : "SELECT id, record, crc FROM jobs WHERE create_revision < ? "
                    "ORDER BY create_revision DESC LIMIT ?";
  WF_ASSIGN_OR_RETURN(auto statement, connection_.Prepare(sql));
  statement.Bind(query.before_create_revision);
  if (query.state) statement.Bind(static_cast<int64_t>(*query.state));
  return DecodeRows<JobRecord>("jobs", statement.Bind(query.limit));
}

absl::StatusOr<std::vector<JobRecord>> SqliteTransaction::LiveJobs() {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT id, record, crc FROM jobs WHERE live ORDER BY create_revision"));
  return DecodeRows<JobRecord>("jobs", statement);
}

absl::StatusOr<std::vector<JobCount>> SqliteTransaction::CountJobs() {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT state, reason, count(*) FROM jobs GROUP BY state, reason"));
  std::vector<JobCount> counts;
  while (true) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return counts;
    counts.push_back({static_cast<wavefield::v1::JobState>(statement.Int(0)),
                      static_cast<wavefield::v1::JobReason>(statement.Int(1)), statement.Int(2)});
  }
}

absl::StatusOr<History> SqliteTransaction::HistoryAfterRevision(const std::string& job,
                                                                int64_t revision, int limit) {
  // The two kinds in one order of revisions.
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT job, record, crc, revision, kind FROM ("
                          "SELECT job, record, crc, revision, 0 AS kind FROM steps "
                          "WHERE job = ?1 AND revision > ?2 UNION ALL "
                          "SELECT job, record, crc, revision, 1 AS kind FROM evaluations "
                          "WHERE job = ?1 AND revision > ?2) ORDER BY revision LIMIT ?3"));
  statement.Bind(job).Bind(revision).Bind(limit + 1);
  History history;
  for (int i = 0;; ++i) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return history;
    if (i == limit) {
      history.more = true;
      return history;
    }
    history.revision = statement.Int(3);
    if (statement.Int(4) == 0) {
      WF_ASSIGN_OR_RETURN(
          StepMetrics step,
          DecodeRecord<StepMetrics>("steps", job, statement.Bytes(1), statement.Int(2)));
      history.steps.push_back(std::move(step));
    } else {
      WF_ASSIGN_OR_RETURN(
          EvaluationResult evaluation,
          DecodeRecord<EvaluationResult>("evaluations", job, statement.Bytes(1), statement.Int(2)));
      history.evaluations.push_back(std::move(evaluation));
    }
  }
}

absl::StatusOr<std::vector<StepMetrics>> SqliteTransaction::ListSteps(const std::string& job,
                                                                      HistoryPosition position,
                                                                      int64_t stride, int limit) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare(
          "SELECT job, record, crc FROM steps WHERE job = ? AND (step, attempt) > (?, ?) "
          "AND step % ? = 0 ORDER BY step, attempt LIMIT ?"));
  statement.Bind(job).Bind(position.step).Bind(position.attempt);
  return DecodeRows<StepMetrics>("steps", statement.Bind(std::max<int64_t>(stride, 1)).Bind(limit));
}

absl::StatusOr<std::vector<EvaluationResult>> SqliteTransaction::ListEvaluations(
    const std::string& job, int64_t first, int64_t last) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT job, record, crc FROM evaluations WHERE job = ? AND "
                          "step > ? AND step <= ? ORDER BY step, attempt LIMIT 10000"));
  return DecodeRows<EvaluationResult>("evaluations", statement.Bind(job).Bind(first).Bind(last));
}

absl::StatusOr<std::vector<std::pair<int64_t, FieldHealth>>> SqliteTransaction::ListFieldHealth(
    const std::string& job, int64_t before, int limit) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT job, record, crc, revision FROM field_health "
                          "WHERE job = ? AND revision < ? ORDER BY revision DESC LIMIT ?"));
  return DecodeRevisions<FieldHealth>("field_health", statement.Bind(job).Bind(before).Bind(limit));
}

absl::StatusOr<std::vector<std::pair<int64_t, Checkpoint>>> SqliteTransaction::ListCheckpoints(
    const std::string& job, int64_t before, int limit) {
  const char* sql = job.empty()
                        ? "SELECT name, record, crc, revision FROM checkpoints WHERE revision < ? "
                          "ORDER BY revision DESC LIMIT ?"
                        : "SELECT name, record, crc, revision FROM checkpoints WHERE revision < ? "
                          "AND job = ? ORDER BY revision DESC LIMIT ?";
  WF_ASSIGN_OR_RETURN(auto statement, connection_.Prepare(sql));
  statement.Bind(before);
  if (!job.empty()) statement.Bind(job);
  statement.Bind(limit);
  return DecodeRevisions<Checkpoint>("checkpoints", statement);
}

absl::StatusOr<Checkpoint> SqliteTransaction::GetCheckpoint(const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT name, record, crc FROM checkpoints WHERE name = ?"));
  return DecodeOnly<Checkpoint>("checkpoints", name, "checkpoint", statement.Bind(name));
}

absl::StatusOr<std::vector<wavefield::v1::LineageNode>> SqliteTransaction::RemovedCheckpoints() {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT name, record, crc FROM removed_checkpoints"));
  return DecodeRows<wavefield::v1::LineageNode>("removed_checkpoints", statement);
}

absl::StatusOr<DatasetRecord> SqliteTransaction::GetDataset(const std::string& id) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT id, record, crc FROM datasets WHERE id = ?"));
  return DecodeOnly<DatasetRecord>("datasets", id, "dataset", statement.Bind(id));
}

absl::StatusOr<std::vector<DatasetRecord>> SqliteTransaction::ListDatasets(const std::string& after,
                                                                           int limit) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT id, record, crc FROM datasets WHERE id > ? ORDER BY id LIMIT ?"));
  return DecodeRows<DatasetRecord>("datasets", statement.Bind(after).Bind(limit));
}

absl::StatusOr<std::vector<WorkerRecord>> SqliteTransaction::ListWorkers() {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT id, record, crc FROM workers ORDER BY id"));
  return DecodeRows<WorkerRecord>("workers", statement);
}

absl::StatusOr<std::optional<WorkerRecord>> SqliteTransaction::FindWorker(const std::string& id) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT id, record, crc FROM workers WHERE id = ?"));
  WF_ASSIGN_OR_RETURN(auto records, DecodeRows<WorkerRecord>("workers", statement.Bind(id)));
  if (records.empty()) return std::optional<WorkerRecord>();
  return std::optional(std::move(records[0]));
}

absl::StatusOr<int64_t> SqliteTransaction::AcknowledgedSequence(const std::string& worker,
                                                                const std::string& incarnation) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare(
          "SELECT sequence FROM acknowledged WHERE worker = ? AND incarnation = ?"));
  WF_ASSIGN_OR_RETURN(const bool row, statement.Bind(worker).Bind(incarnation).Step());
  return row ? statement.Int(0) : 0;
}

absl::StatusOr<std::optional<RequestRecord>> SqliteTransaction::FindRequest(const std::string& id) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT payload_hash, answer FROM requests WHERE id = ?"));
  WF_ASSIGN_OR_RETURN(const bool row, statement.Bind(id).Step());
  if (!row) return std::optional<RequestRecord>();
  return std::optional<RequestRecord>({statement.Bytes(0), statement.Bytes(1)});
}

absl::StatusOr<std::vector<std::string>> SqliteTransaction::PendingDeletions(
    const std::string& after) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT directory FROM deletions WHERE directory > ? "
                                          "ORDER BY directory LIMIT 100"));
  statement.Bind(after);
  std::vector<std::string> directories;
  while (true) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return directories;
    directories.push_back(statement.Bytes(0));
  }
}

absl::StatusOr<bool> SqliteTransaction::IsDeletionPending(const std::string& directory) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT 1 FROM deletions WHERE directory = ?"));
  return statement.Bind(directory).Step();
}

absl::StatusOr<std::string> SqliteTransaction::GetRendezvous(const std::string& job, int64_t epoch,
                                                             const std::string& key) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT value FROM rendezvous WHERE job = ? AND epoch = ? AND key = ?"));
  WF_ASSIGN_OR_RETURN(const bool row, statement.Bind(job).Bind(epoch).Bind(key).Step());
  if (!row) return absl::NotFoundError(fmt::format("the rendezvous key '{}' is not set", key));
  return statement.Bytes(0);
}

}  // namespace wavefield::coordinator
