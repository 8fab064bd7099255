// The part of SqliteTransaction that keeps the audit log.
#include "coordinator/store/record_codec.h"
#include "coordinator/store/sqlite_transaction.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

using wavefield::v1::AuditEntry;

absl::Status SqliteTransaction::AddAuditEntry(AuditEntry& entry) {
  WF_ASSIGN_OR_RETURN(const int64_t last,
                      connection_.QueryInt("SELECT coalesce(max(sequence), 0) FROM audit"));
  entry.set_sequence(last + 1);
  const std::string bytes = entry.SerializeAsString();
  WF_ASSIGN_OR_RETURN(auto statement, connection_.Prepare("INSERT INTO audit VALUES (?, ?, ?)"));
  WF_RETURN_IF_ERROR(statement.Bind(entry.sequence()).BindBlob(bytes).Bind(Crc32c(bytes)).Run());
  WF_ASSIGN_OR_RETURN(auto removal, connection_.Prepare("DELETE FROM audit WHERE sequence <= ?"));
  return removal.Bind(entry.sequence() - kAuditRetention).Run();
}

absl::StatusOr<std::vector<AuditEntry>> SqliteTransaction::ListAuditEntries(int64_t before,
                                                                            int limit) {
  WF_ASSIGN_OR_RETURN(auto statement,
                      connection_.Prepare("SELECT sequence, record, crc FROM audit WHERE "
                                          "sequence < ? ORDER BY sequence DESC LIMIT ?"));
  statement.Bind(before).Bind(limit);
  std::vector<AuditEntry> entries;
  while (true) {
    WF_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return entries;
    WF_ASSIGN_OR_RETURN(AuditEntry entry,
                        DecodeRecord<AuditEntry>("audit", std::to_string(statement.Int(0)),
                                                 statement.Bytes(1), statement.Int(2)));
    entries.push_back(std::move(entry));
  }
}

}  // namespace wavefield::coordinator
