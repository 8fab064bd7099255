#include "coordinator/store/sqlite_store.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "coordinator/jobs/job_states.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite_transaction.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxQueued = 4096;
constexpr size_t kMaxGroup = 256;
constexpr size_t kMaxIdleReaders = 8;

absl::StatusOr<std::unique_ptr<SqliteConnection>> OpenConnection(
    const std::filesystem::path& path) {
  WF_ASSIGN_OR_RETURN(auto connection, SqliteConnection::Open(path));
  WF_RETURN_IF_ERROR(connection->Execute("PRAGMA journal_mode = WAL"));
  WF_RETURN_IF_ERROR(connection->Execute("PRAGMA synchronous = FULL"));
  return connection;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::filesystem::path& path,
                                                               Observer observer) {
  WF_ASSIGN_OR_RETURN(auto connection, OpenConnection(path));
  WF_RETURN_IF_ERROR(Migrate(*connection, path.string()));
  WF_ASSIGN_OR_RETURN(const int64_t revision,
                      connection->QueryInt("SELECT value FROM meta WHERE key = 'revision'"));
  return std::unique_ptr<SqliteStore>(
      new SqliteStore(path, std::move(connection), revision, std::move(observer)));
}

SqliteStore::SqliteStore(std::filesystem::path path, std::unique_ptr<SqliteConnection> writer,
                         int64_t revision, Observer observer)
    : path_(std::move(path)),
      observer_(std::move(observer)),
      writer_(std::move(writer)),
      revision_(revision),
      writer_thread_([this] { WriterLoop(); }) {}

SqliteStore::~SqliteStore() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  writer_thread_.join();
}

absl::Status SqliteStore::Write(std::function<absl::Status(Transaction&)> body) {
  Request request{.body = std::move(body), .result = {}, .done = false, .finished = {}};
  std::unique_lock lock(mutex_);
  if (!closed_.ok()) return closed_;
  if (queue_.size() >= kMaxQueued) {
    return absl::ResourceExhaustedError(
        fmt::format("{} writes are waiting for the store already; try again later", kMaxQueued));
  }
  queue_.push_back(&request);
  work_.notify_one();
  request.finished.wait(lock, [&] { return request.done; });
  return request.result;
}

absl::Status SqliteStore::Read(const std::function<absl::Status(StoreReader&)>& body) {
  std::unique_ptr<SqliteConnection> connection;
  {
    std::lock_guard lock(mutex_);
    if (!closed_.ok()) return closed_;
    if (!idle_readers_.empty()) {
      connection = std::move(idle_readers_.back());
      idle_readers_.pop_back();
    }
  }
  if (connection == nullptr) {
    WF_ASSIGN_OR_RETURN(connection, OpenConnection(path_));
  }
  WF_RETURN_IF_ERROR(connection->Execute("BEGIN"));
  int64_t unused_revision = 0;
  SqliteTransaction reader(*connection, unused_revision);
  absl::Status status = body(reader);
  const absl::Status ended = connection->Execute("ROLLBACK");
  if (!ended.ok()) return ended;
  std::lock_guard lock(mutex_);
  if (idle_readers_.size() < kMaxIdleReaders) idle_readers_.push_back(std::move(connection));
  return status;
}

void SqliteStore::WriterLoop() {
  while (true) {
    std::vector<Request*> group;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_) {
        closed_ = absl::UnavailableError("the coordinator is shutting down");
        for (Request* request : queue_) {
          request->result = closed_;
          request->done = true;
          request->finished.notify_one();
        }
        queue_.clear();
        return;
      }
      while (!queue_.empty() && group.size() < kMaxGroup) {
        group.push_back(queue_.front());
        queue_.pop_front();
      }
    }
    Changes changes;
    const absl::Duration start = Clock::Real().Monotonic();
    const absl::Status committed = CommitGroup(group, changes);
    observer_.commit_latency(Clock::Real().Monotonic() - start);
    if (committed.ok()) {
      observer_.deleted(changes.deleted);
      observer_.committed(changes.written);
    }

    std::lock_guard lock(mutex_);
    if (!committed.ok()) {
      for (Request* request : group) request->result = committed;
      if (IsDiskFailure(committed)) {
        closed_ = absl::UnavailableError(
            fmt::format("the store {} is closed after a disk failure ({}); repair the disk, then "
                        "restart the coordinator",
                        path_.string(), std::string(committed.message())));
        spdlog::critical("{}", std::string(closed_.message()));
        for (Request* request : group) request->result = closed_;
        group.insert(group.end(), queue_.begin(), queue_.end());
        for (Request* request : queue_) request->result = closed_;
        queue_.clear();
      }
    }
    for (Request* request : group) {
      request->done = true;
      request->finished.notify_one();
    }
  }
}

absl::Status SqliteStore::CommitGroup(const std::vector<Request*>& group, Changes& changes) {
  const int64_t revision_before = revision_;
  absl::Status status = writer_->Execute("BEGIN IMMEDIATE");
  for (size_t i = 0; status.ok() && i < group.size(); ++i) {
    SqliteTransaction writes(*writer_, revision_);
    status = RunRequest(*writer_, *group[i], writes);
    if (status.ok() && group[i]->result.ok()) {
      for (std::string& id : writes.TakeDeletedJobs()) {
        std::erase_if(changes.written, [&](const JobRecord& job) { return JobId(job) == id; });
        changes.deleted.push_back(std::move(id));
      }
      for (JobRecord& job : writes.TakeWrittenJobs()) changes.written.push_back(std::move(job));
    }
  }
  if (status.ok() && revision_ != revision_before) {
    status = writer_->Execute(
        fmt::format("UPDATE meta SET value = {} WHERE key = 'revision'", revision_));
  }
  if (status.ok()) status = writer_->Execute("COMMIT");
  if (!status.ok()) {
    // After some errors SQLite has rolled back by itself already.
    if (const absl::Status undone = writer_->Execute("ROLLBACK"); !undone.ok()) {
      spdlog::debug("rollback: {}", std::string(undone.message()));
    }
    spdlog::error("a group of {} writes was not committed: {}", group.size(),
                  std::string(status.message()));
  }
  return status;
}

// The returned status is of the group; the request's own goes to request.result.
absl::Status SqliteStore::RunRequest(SqliteConnection& connection, Request& request,
                                     Transaction& writes) {
  WF_RETURN_IF_ERROR(connection.Execute("SAVEPOINT request"));
  request.result = request.body(writes);
  if (!request.result.ok()) {
    WF_RETURN_IF_ERROR(connection.Execute("ROLLBACK TO request"));
  }
  return connection.Execute("RELEASE request");
}

}  // namespace wavefield::coordinator
