// What SqliteTransaction knows of changed and deleted jobs.
#include <fmt/format.h>

#include "coordinator/jobs/job_states.h"
#include "coordinator/store/record_codec.h"
#include "coordinator/store/sqlite_transaction.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

// In `meta`: the revision up to which deletions are forgotten.
constexpr char kForgotten[] = "deleted_jobs_forgotten";

}  // namespace

absl::StatusOr<JobChanges> SqliteTransaction::JobsAfterRevision(int64_t revision, int limit) {
  JobChanges changes;
  WF_ASSIGN_OR_RETURN(changes.store_revision,
                      connection_.QueryInt("SELECT value FROM meta WHERE key = 'revision'"));
  WF_ASSIGN_OR_RETURN(
      changes.forgotten_revision,
      connection_.QueryInt(
          fmt::format("SELECT coalesce(max(value), 0) FROM meta WHERE key = '{}'", kForgotten)));
  WF_ASSIGN_OR_RETURN(
      auto statement,
      connection_.Prepare("SELECT id, record, crc, revision, 0 AS deleted FROM jobs "
                          "WHERE revision > ?1 UNION ALL "
                          "SELECT id, NULL, 0, revision, 1 AS deleted FROM deleted_jobs "
                          "WHERE revision > ?1 ORDER BY revision LIMIT ?2"));
  statement.Bind(revision).Bind(limit + 1);
  for (int i = 0; i < limit; ++i) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) {
      changes.revision = changes.store_revision;
      return changes;
    }
    changes.revision = statement.Int(3);
    const std::string id = statement.Bytes(0);
    if (statement.Int(4) != 0) {
      changes.deleted.push_back(id);
      continue;
    }
    WF_ASSIGN_OR_RETURN(JobRecord record,
                        DecodeRecord<JobRecord>("jobs", id, statement.Bytes(1), statement.Int(2)));
    changes.jobs.push_back(std::move(record));
  }
  WF_ASSIGN_OR_RETURN(changes.more, statement.Step());
  if (!changes.more) changes.revision = changes.store_revision;
  return changes;
}

absl::StatusOr<bool> SqliteTransaction::IsDeletionPendingIn(const std::string& directory) {
  // '0' comes after '/'.
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT 1 FROM deletions WHERE directory = ?1 OR "
                                          "(directory > ?1 || '/' AND directory < ?1 || '0')"));
  return statement.Bind(directory).Step();
}

absl::Status SqliteTransaction::DeleteRows(const char* table, const char* column,
                                           const std::string& value) {
  WF_ASSIGN_OR_RETURN(auto statement, connection_.Prepare(fmt::format("DELETE FROM {} WHERE {} = ?",
                                                                      table, column)));
  return statement.Bind(value).Run();
}

absl::Status SqliteTransaction::DeleteJob(const JobRecord& record) {
  const std::string id = JobId(record);
  for (const char* table : {"steps", "evaluations", "field_health", "rendezvous"}) {
    WF_RETURN_IF_ERROR(DeleteRows(table, "job", id));
  }
  WF_RETURN_IF_ERROR(DeleteRows("jobs", "id", id));
  if (!record.checkpoint_directory().empty()) {
    WF_ASSIGN_OR_RETURN(auto queueing,
                        connection_.Prepare("INSERT OR IGNORE INTO deletions VALUES (?)"));
    WF_RETURN_IF_ERROR(queueing.Bind(record.checkpoint_directory()).Run());
  }
  WF_ASSIGN_OR_RETURN(auto tombstone,
                      connection_.Prepare("INSERT OR REPLACE INTO deleted_jobs VALUES (?, ?, ?)"));
  WF_RETURN_IF_ERROR(tombstone.Bind(id).Bind(++revision_).Bind(record.job().epoch()).Run());
  std::erase_if(written_jobs_, [&](const JobRecord& written) { return JobId(written) == id; });
  deleted_jobs_.push_back(id);
  return ForgetOldDeletions();
}

absl::StatusOr<int64_t> SqliteTransaction::LastEpochOfDeleted(const std::string& id) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT epoch FROM deleted_jobs WHERE id = ?"));
  WF_ASSIGN_OR_RETURN(const bool row, statement.Bind(id).Step());
  return row ? statement.Int(0) : 0;
}

absl::Status SqliteTransaction::ForgetOldDeletions() {
  WF_ASSIGN_OR_RETURN(
      const int64_t forgotten,
      connection_.QueryInt(fmt::format("SELECT coalesce(max(revision), 0) FROM (SELECT revision "
                                       "FROM deleted_jobs ORDER BY revision DESC "
                                       "LIMIT 1 OFFSET {})",
                                       kDeletedJobRetention)));
  if (forgotten == 0) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(auto removal,
                      connection_.Prepare("DELETE FROM deleted_jobs WHERE revision <= ?"));
  WF_RETURN_IF_ERROR(removal.Bind(forgotten).Run());
  WF_ASSIGN_OR_RETURN(auto note, connection_.Prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)"));
  return note.Bind(std::string(kForgotten)).Bind(forgotten).Run();
}

}  // namespace wavefield::coordinator
