#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// The store in one SQLite file: WAL, synchronous=FULL. One writer thread takes everything that
// waits into one transaction, each request under a SAVEPOINT of its own; requests return after
// COMMIT. Readers have connections of their own.
class SqliteStore final : public Store {
 public:
  // On the writer thread, in the order of commits, before the writes return. Must not block.
  struct Observer {
    // Ids of jobs that are gone; before `committed`, which may tell of new ones of the same names.
    std::function<void(const std::vector<std::string>&)> deleted = [](const auto&) {};
    std::function<void(const std::vector<JobRecord>&)> committed = [](const auto&) {};
    std::function<void(absl::Duration)> commit_latency = [](absl::Duration) {};
  };

  // FAILED_PRECONDITION for a store of a newer version.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::filesystem::path& path,
                                                           Observer observer);
  // Waiting writes fail with UNAVAILABLE.
  ~SqliteStore() override;

  absl::Status Write(std::function<absl::Status(Transaction&)> body) override;
  absl::Status Read(const std::function<absl::Status(StoreReader&)>& body) override;

 private:
  struct Request {
    std::function<absl::Status(Transaction&)> body;
    absl::Status result;
    bool done = false;
    std::condition_variable finished;
  };

  // What a group of writes did to jobs.
  struct Changes {
    std::vector<std::string> deleted;
    std::vector<JobRecord> written;
  };

  SqliteStore(std::filesystem::path path, std::unique_ptr<SqliteConnection> writer,
              int64_t revision, Observer observer);
  void WriterLoop();
  // One transaction; on success `changes` holds what became of jobs.
  absl::Status CommitGroup(const std::vector<Request*>& group, Changes& changes);
  static absl::Status RunRequest(SqliteConnection& connection, Request& request,
                                 Transaction& writes);

  const std::filesystem::path path_;
  const Observer observer_;

  // Of the writer thread alone.
  std::unique_ptr<SqliteConnection> writer_;
  int64_t revision_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Request*> queue_;
  absl::Status closed_;  // OK while open
  bool stopping_ = false;
  std::vector<std::unique_ptr<SqliteConnection>> idle_readers_;

  std::thread writer_thread_;
};

}  // namespace wavefield::coordinator
