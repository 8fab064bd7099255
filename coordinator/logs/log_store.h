#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/records.pb.h"
#include "core/base/line_log.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

struct LogLimits {
  int64_t job_bytes = int64_t{64} << 20;   // the oldest lines of the job go first
  int64_t total_bytes = int64_t{4} << 30;  // the logs of the jobs that ended first go first
  absl::Duration retention = absl::Hours(30 * 24);  // after a job's end
};

// What one rank of one attempt printed.
struct TaskLog {
  int32_t attempt = 0;
  int64_t epoch = 0;
  int32_t rank = 0;
  std::string worker;     // id
  bool complete = false;  // nothing more comes
  bool failing = false;   // the disk refused the last lines
  std::shared_ptr<LineLog> lines;
};

// The logs of all jobs, in files below one folder:
//   {job}/attempt-{a}-epoch-{e}-rank-{r}-{worker}/   lines (core/base/line_log.h), and the empty
//                                                    file "complete" when they are
// What Append() took survives a kill of the process. Thread-safe.
class LogStore {
 public:
  // now: the time of opening, by the clock that ends jobs.
  static absl::StatusOr<std::unique_ptr<LogStore>> Open(const std::filesystem::path& directory,
                                                        const LogLimits& limits, absl::Time now);

  // Ranks of attempts under way are known from now on. To be called for every record that is
  // committed, before workers are told, and for live jobs at start.
  void JobsCommitted(const std::vector<JobRecord>& records);

  // Takes lines that were not there yet, and returns the number of the next one wanted. What is
  // not of a rank that was given to `worker` is dropped. UNAVAILABLE when the disk refuses.
  // REQUIRES: texts are valid UTF-8.
  absl::StatusOr<int64_t> Append(const std::string& worker,
                                 const wavefield::v1::ReportLogsRequest::Chunk& chunk);

  // In order of attempts and ranks; empty for an unknown job.
  std::vector<TaskLog> Tasks(const std::string& job);

  // Knows no more of the job, whose name may be taken again; its files are put aside.
  void Detach(const std::string& job);
  // Removes the files that were put aside.
  void RemoveDetached();

  // When a job ended: InfiniteFuture() while it lives; NOT_FOUND: there is no such job.
  using EndOf = std::function<absl::StatusOr<absl::Time>(const std::string& job)>;
  // Removes what is too old, too much, of jobs that are gone, or put aside.
  void Sweep(const EndOf& end_of, absl::Time now);
  // `now`: monotonic. True once each time when a Sweep() is due. One thread at a time.
  bool TakeSweep(absl::Duration now);

  int64_t bytes() const { return total_; }
  absl::Time opened() const { return opened_; }

 private:
  struct JobLogs {
    int64_t epoch = -1;  // ranks up to it are known; under LogStore::mutex_

    std::mutex mutex;
    bool loaded = false;
    bool removed = false;
    std::map<std::pair<int64_t, int32_t>, TaskLog> tasks;  // by epoch and rank
    std::atomic<int64_t> bytes = 0;
  };

  LogStore(std::filesystem::path directory, const LogLimits& limits, absl::Time now);
  // Null: nothing is known of the job.
  std::shared_ptr<JobLogs> Find(const std::string& job) const;
  std::map<std::string, std::shared_ptr<JobLogs>> AllJobs() const;
  // Those below work under the job's mutex.
  void Load(const std::string& job, JobLogs& logs);
  void Register(const JobRecord& record, JobLogs& logs);
  void Count(JobLogs& logs, int64_t bytes);
  bool DropOldest(JobLogs& logs);

  const std::filesystem::path directory_;
  const LogLimits limits_;
  const LineLogOptions line_options_;
  const absl::Time opened_;
  std::atomic<int64_t> total_ = 0;
  absl::Duration swept_ = -absl::InfiniteDuration();
  mutable std::mutex mutex_;  // not held while files are touched
  std::map<std::string, std::shared_ptr<JobLogs>> jobs_;
};

}  // namespace wavefield::coordinator
