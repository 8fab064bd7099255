#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace wavefield::coordinator {

// A prepared statement in use; it is reset on destruction. Bind… in the order of the placeholders.
class SqliteStatement {
 public:
  SqliteStatement(sqlite3* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}
  ~SqliteStatement();
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;

  SqliteStatement& Bind(int64_t value);
  SqliteStatement& Bind(const std::string& text);
  SqliteStatement& BindBlob(const std::string& bytes);

  // True: a row is there.
  absl::StatusOr<bool> Step();
  // Steps to the end.
  absl::Status Run();

  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  // Text and blobs.
  std::string Bytes(int column) const;

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_;
  int next_parameter_ = 1;
};

// One connection. Not thread-safe.
class SqliteConnection {
 public:
  // Creates the file if need be. Errors name the file.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::filesystem::path& path);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  absl::Status Execute(const std::string& sql);
  // Compiled once per connection. REQUIRES: the last statement of the same text is gone.
  absl::StatusOr<SqliteStatement> Prepare(const std::string& sql);
  // The one integer that `sql` answers.
  absl::StatusOr<int64_t> QueryInt(const std::string& sql);

 private:
  explicit SqliteConnection(sqlite3* database) : database_(database) {}
  sqlite3* database_;
  std::map<std::string, sqlite3_stmt*> statements_;
};

// RESOURCE_EXHAUSTED (disk full), ALREADY_EXISTS (constraint), DATA_LOSS (corrupt), UNAVAILABLE
// (I/O).
absl::Status SqliteError(sqlite3* database, const std::string& what);
// Of the last call on a connection failed with `status`: the disk cannot be trusted any more.
bool IsDiskFailure(const absl::Status& status);

}  // namespace wavefield::coordinator
