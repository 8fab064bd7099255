#pragma once

#include "absl/status/status.h"
#include "coordinator/store/sqlite.h"

namespace wavefield::coordinator {

// The version this program writes (PRAGMA user_version).
inline constexpr int kSchemaVersion = 4;

// Brings the store to kSchemaVersion, in one transaction. FAILED_PRECONDITION for a newer one.
absl::Status Migrate(SqliteConnection& connection, const std::string& path);

}  // namespace wavefield::coordinator
