#include "coordinator/store/schema.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {
namespace {

// Element i takes a store from version i to i + 1. `record` columns are serialized messages, `crc`
// is the CRC-32C of the record.
constexpr std::array<const char*, kSchemaVersion> kMigrations = {R"(
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('revision', 0);
INSERT INTO meta VALUES ('cluster_id', lower(hex(randomblob(16))));
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, state INTEGER NOT NULL, live INTEGER NOT NULL,
  create_revision INTEGER NOT NULL, revision INTEGER NOT NULL,
  record BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX jobs_by_creation ON jobs (create_revision);
CREATE INDEX jobs_by_state ON jobs (state, create_revision);
CREATE INDEX jobs_live ON jobs (create_revision) WHERE live;
CREATE TABLE steps (
  job TEXT NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, revision INTEGER NOT NULL,
  record BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (job, step, attempt)) WITHOUT ROWID;
CREATE INDEX steps_by_revision ON steps (job, revision);
CREATE TABLE evaluations (
  job TEXT NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, revision INTEGER NOT NULL,
  record BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (job, step, attempt)) WITHOUT ROWID;
CREATE INDEX evaluations_by_revision ON evaluations (job, revision);
CREATE TABLE checkpoints (
  name TEXT PRIMARY KEY, job TEXT NOT NULL, revision INTEGER NOT NULL,
  record BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX checkpoints_by_job ON checkpoints (job, revision);
CREATE INDEX checkpoints_by_revision ON checkpoints (revision);
CREATE TABLE deletions (directory TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE datasets (id TEXT PRIMARY KEY, record BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE workers (id TEXT PRIMARY KEY, record BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE acknowledged (
  worker TEXT PRIMARY KEY, incarnation TEXT NOT NULL, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (
  id TEXT PRIMARY KEY, payload_hash TEXT NOT NULL, answer BLOB NOT NULL, create_time INTEGER NOT NULL);
CREATE INDEX requests_by_time ON requests (create_time);
CREATE TABLE rendezvous (
  job TEXT NOT NULL, epoch INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (job, epoch, key)) WITHOUT ROWID;
)",
                                                                 R"(
CREATE TABLE field_health (
  job TEXT NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, revision INTEGER NOT NULL,
  record BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (job, step, attempt));
CREATE INDEX field_health_by_revision ON field_health (job, revision);
)",
                                                                 R"(
ALTER TABLE jobs ADD COLUMN reason INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_by_reason ON jobs (state, reason);
)",
                                                                 R"(
CREATE INDEX jobs_by_revision ON jobs (revision);
CREATE TABLE deleted_jobs (
  id TEXT PRIMARY KEY, revision INTEGER NOT NULL, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX deleted_jobs_by_revision ON deleted_jobs (revision);
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, record BLOB NOT NULL, crc INTEGER NOT NULL);
ALTER TABLE checkpoints ADD COLUMN parent TEXT NOT NULL DEFAULT '';
CREATE INDEX checkpoints_by_parent ON checkpoints (parent);
CREATE TABLE removed_checkpoints (
  name TEXT PRIMARY KEY, parent TEXT NOT NULL, record BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX removed_checkpoints_by_parent ON removed_checkpoints (parent);
)"};

// The parents that version 3 had in the records alone.
absl::Status FillInParents(SqliteConnection& connection) {
  std::vector<std::pair<std::string, std::string>> parents;
  {
    WF_ASSIGN_OR_RETURN(auto rows, connection.Prepare("SELECT name, record FROM checkpoints"));
    while (true) {
      WF_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) break;
      wavefield::v1::Checkpoint checkpoint;
      if (checkpoint.ParseFromString(rows.Bytes(1)) && !checkpoint.parent().empty()) {
        parents.emplace_back(rows.Bytes(0), checkpoint.parent());
      }
    }
  }
  for (const auto& [name, parent] : parents) {
    WF_ASSIGN_OR_RETURN(auto update,
                        connection.Prepare("UPDATE checkpoints SET parent = ? WHERE name = ?"));
    WF_RETURN_IF_ERROR(update.Bind(parent).Bind(name).Run());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Migrate(SqliteConnection& connection, const std::string& path) {
  WF_ASSIGN_OR_RETURN(const int64_t version, connection.QueryInt("PRAGMA user_version"));
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        fmt::format("the store {} has version {}, and this program knows versions up to {}: it was "
                    "written by a "
                    "newer wavefield-coordinator; start that one",
                    path, version, kSchemaVersion));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  WF_RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  for (int64_t v = version; v < kSchemaVersion; ++v) {
    WF_RETURN_IF_ERROR(connection.Execute(kMigrations[static_cast<size_t>(v)]));
    if (v == 3) WF_RETURN_IF_ERROR(FillInParents(connection));
  }
  WF_RETURN_IF_ERROR(connection.Execute(fmt::format("PRAGMA user_version = {}", kSchemaVersion)));
  return connection.Execute("COMMIT");
}

}  // namespace wavefield::coordinator
