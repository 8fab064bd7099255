// The writing half of SqliteTransaction.
#include <fmt/format.h>

#include "coordinator/checkpoints/lineage_node.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/store/sqlite_transaction.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

using wavefield::v1::Checkpoint;
using wavefield::v1::EvaluationResult;
using wavefield::v1::FieldHealth;
using wavefield::v1::StepMetrics;

absl::Status SqliteTransaction::PutJob(JobRecord& record) {
  wavefield::v1::Job& job = *record.mutable_job();
  job.set_revision(++revision_);
  if (record.create_revision() == 0) {
    record.set_create_revision(revision_);
    WF_RETURN_IF_ERROR(DeleteRows("deleted_jobs", "id", JobId(record)));
  }
  if (job.etag().empty()) job.set_etag(fmt::format("\"{}\"", job.revision()));
  const std::string bytes = record.SerializeAsString();
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  statement.Bind(JobId(record)).Bind(job.state()).Bind(IsLive(record) ? 1 : 0);
  statement.Bind(record.create_revision()).Bind(job.revision());
  statement.BindBlob(bytes).Bind(Crc32c(bytes)).Bind(job.reason());
  WF_RETURN_IF_ERROR(statement.Run());
  written_jobs_.push_back(record);
  return absl::OkStatus();
}

absl::Status SqliteTransaction::PutStep(const std::string& job, const StepMetrics& step) {
  const std::string bytes = step.SerializeAsString();
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)"));
  statement.Bind(job).Bind(step.step()).Bind(step.attempt()).Bind(++revision_);
  WF_RETURN_IF_ERROR(statement.BindBlob(bytes).Bind(Crc32c(bytes)).Run());
  if (step.step() % 1000 != 0 || step.step() <= kStepRetention) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(auto removal,
                      connection_.Prepare("DELETE FROM steps WHERE job = ? AND step <= ?"));
  return removal.Bind(job).Bind(step.step() - kStepRetention).Run();
}

absl::Status SqliteTransaction::PutEvaluation(const std::string& job,
                                              const EvaluationResult& evaluation) {
  const std::string bytes = evaluation.SerializeAsString();
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?, ?)"));
  statement.Bind(job).Bind(evaluation.step()).Bind(evaluation.attempt()).Bind(++revision_);
  return statement.BindBlob(bytes).Bind(Crc32c(bytes)).Run();
}

absl::Status SqliteTransaction::PutFieldHealth(const std::string& job, const FieldHealth& health) {
  const std::string bytes = health.SerializeAsString();
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("INSERT OR REPLACE INTO field_health VALUES (?, ?, ?, ?, ?, ?)"));
  statement.Bind(job).Bind(health.step()).Bind(health.attempt()).Bind(++revision_);
  WF_RETURN_IF_ERROR(statement.BindBlob(bytes).Bind(Crc32c(bytes)).Run());
  WF_ASSIGN_OR_RETURN(
      auto removal, connection_.Prepare("DELETE FROM field_health WHERE job = ?1 AND revision <= ("
                                        "SELECT revision FROM field_health WHERE job = ?1 "
                                        "ORDER BY revision DESC LIMIT 1 OFFSET ?2)"));
  return removal.Bind(job).Bind(kFieldHealthRetention).Run();
}

absl::Status SqliteTransaction::PutCheckpoint(const std::string& job,
                                              const Checkpoint& checkpoint) {
  const std::string bytes = checkpoint.SerializeAsString();
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare(
          "INSERT INTO checkpoints (name, job, revision, record, crc, parent) "
          "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
          "record = excluded.record, crc = excluded.crc, parent = excluded.parent"));
  statement.Bind(checkpoint.name()).Bind(job).Bind(++revision_);
  statement.BindBlob(bytes).Bind(Crc32c(bytes)).Bind(checkpoint.parent());
  WF_RETURN_IF_ERROR(statement.Run());
  WF_ASSIGN_OR_RETURN(auto returned,
                      connection_.Prepare("DELETE FROM removed_checkpoints WHERE name = ?"));
  return returned.Bind(checkpoint.name()).Run();
}

absl::Status SqliteTransaction::DeleteCheckpoint(const Checkpoint& checkpoint) {
  WF_ASSIGN_OR_RETURN(auto removal, connection_.Prepare("DELETE FROM checkpoints WHERE name = ?"));
  WF_RETURN_IF_ERROR(removal.Bind(checkpoint.name()).Run());
  WF_ASSIGN_OR_RETURN(auto queueing,
                      connection_.Prepare("INSERT OR IGNORE INTO deletions VALUES (?)"));
  WF_RETURN_IF_ERROR(queueing.Bind(checkpoint.directory()).Run());
  WF_ASSIGN_OR_RETURN(const bool has_descendants, HasDescendants(checkpoint.name()));
  if (!has_descendants) return ForgetRemovedWithoutDescendants(checkpoint.parent());
  wavefield::v1::LineageNode node = LineageNodeOf(checkpoint);
  node.set_removed(true);
  const std::string bytes = node.SerializeAsString();
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("INSERT OR REPLACE INTO removed_checkpoints VALUES (?, ?, ?, ?)"));
  statement.Bind(checkpoint.name()).Bind(checkpoint.parent());
  return statement.BindBlob(bytes).Bind(Crc32c(bytes)).Run();
}

absl::StatusOr<bool> SqliteTransaction::HasDescendants(const std::string& checkpoint) {
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT 1 FROM checkpoints WHERE parent = ?1 UNION ALL "
                          "SELECT 1 FROM removed_checkpoints WHERE parent = ?1 LIMIT 1"));
  return statement.Bind(checkpoint).Step();
}

absl::Status SqliteTransaction::ForgetRemovedWithoutDescendants(std::string name) {
  while (!name.empty()) {
    WF_ASSIGN_OR_RETURN(const bool has_descendants, HasDescendants(name));
    if (has_descendants) return absl::OkStatus();
    std::string parent;
    {
      WF_ASSIGN_OR_RETURN(
          auto statement,
          connection_.Prepare("SELECT parent FROM removed_checkpoints WHERE name = ?"));
      WF_ASSIGN_OR_RETURN(const bool row, statement.Bind(name).Step());
      if (!row) return absl::OkStatus();
      parent = statement.Bytes(0);
    }
    WF_ASSIGN_OR_RETURN(auto removal,
                        connection_.Prepare("DELETE FROM removed_checkpoints WHERE name = ?"));
    WF_RETURN_IF_ERROR(removal.Bind(name).Run());
    name = std::move(parent);
  }
  return absl::OkStatus();
}

absl::Status SqliteTransaction::DeletionDone(const std::string& directory) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("DELETE FROM deletions WHERE directory = ?"));
  return statement.Bind(directory).Run();
}

absl::Status SqliteTransaction::PutDataset(const std::string& id, const DatasetRecord& record) {
  const std::string bytes = record.SerializeAsString();
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("INSERT OR REPLACE INTO datasets VALUES (?, ?, ?)"));
  return statement.Bind(id).BindBlob(bytes).Bind(Crc32c(bytes)).Run();
}

absl::Status SqliteTransaction::PutWorker(const std::string& id, const WorkerRecord& record) {
  const std::string bytes = record.SerializeAsString();
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("INSERT OR REPLACE INTO workers VALUES (?, ?, ?)"));
  return statement.Bind(id).BindBlob(bytes).Bind(Crc32c(bytes)).Run();
}

absl::Status SqliteTransaction::RemoveWorker(const std::string& id) {
  WF_ASSIGN_OR_RETURN(auto statement, connection_.Prepare("DELETE FROM workers WHERE id = ?"));
  return statement.Bind(id).Run();
}

absl::Status SqliteTransaction::SetAcknowledgedSequence(const std::string& worker,
                                                        const std::string& incarnation,
                                                        int64_t sequence) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("INSERT OR REPLACE INTO acknowledged VALUES (?, ?, ?)"));
  return statement.Bind(worker).Bind(incarnation).Bind(sequence).Run();
}

absl::Status SqliteTransaction::PutRequest(const std::string& id, const RequestRecord& record,
                                           absl::Time now) {
  WF_ASSIGN_OR_RETURN(auto expiry,
                      connection_.Prepare("DELETE FROM requests WHERE create_time < ?"));
  WF_RETURN_IF_ERROR(expiry.Bind(absl::ToUnixSeconds(now - kRequestRetention)).Run());
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("INSERT INTO requests VALUES (?, ?, ?, ?)"));
  statement.Bind(id).Bind(record.payload_hash).BindBlob(record.answer);
  return statement.Bind(absl::ToUnixSeconds(now)).Run();
}

absl::Status SqliteTransaction::PutRendezvous(const std::string& job, int64_t epoch,
                                              const std::string& key, const std::string& value) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("INSERT INTO rendezvous VALUES (?, ?, ?, ?)"));
  return statement.Bind(job).Bind(epoch).Bind(key).BindBlob(value).Run();
}

absl::Status SqliteTransaction::DropRendezvous(const std::string& job, int64_t epoch) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("DELETE FROM rendezvous WHERE job = ? AND epoch < ?"));
  return statement.Bind(job).Bind(epoch).Run();
}

}  // namespace wavefield::coordinator
