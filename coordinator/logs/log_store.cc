#include "coordinator/logs/log_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "coordinator/cluster/random_id.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::LogLine;
using wavefield::v1::ReportLogsRequest;

constexpr size_t kMaxTextBytes = 4096;
constexpr char kCompleteFile[] = "complete";
constexpr char kDetached[] = ".detached.";  // what names of folders that were put aside begin with
// Of one job; those of the oldest attempts are removed.
constexpr size_t kMaxTasksPerJob = 4096;
constexpr absl::Duration kSweepInterval = absl::Minutes(10);
constexpr absl::Duration kSweepIntervalWhenFull = absl::Seconds(1);
// What a sweep leaves of the limit, so that the next is not due at once.
constexpr double kShareAfterSweep = 0.9;

std::string FolderOf(const TaskLog& task) {
  return fmt::format("attempt-{}-epoch-{}-rank-{}-{}", task.attempt, task.epoch, task.rank,
                     task.worker);
}

std::optional<TaskLog> ParseFolder(const std::string& name) {
  TaskLog task;
  long long epoch = 0;
  int worker = -1;
  if (std::sscanf(name.c_str(), "attempt-%d-epoch-%lld-rank-%d-%n", &task.attempt, &epoch,
                  &task.rank, &worker) != 3 ||
      worker < 0) {
    return std::nullopt;
  }
  task.epoch = epoch;
  task.worker = name.substr(static_cast<size_t>(worker));
  return task;
}

struct TaskName {
  std::string job;
  int64_t epoch = 0;
  int32_t rank = 0;
};

// Of "{job}/{epoch}/{rank}".
std::optional<TaskName> ParseTaskId(const std::string& task_id) {
  const std::vector<std::string> parts = absl::StrSplit(task_id, '/');
  TaskName name;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[1], &name.epoch) ||
      !absl::SimpleAtoi(parts[2], &name.rank)) {
    return std::nullopt;
  }
  name.job = parts[0];
  return name;
}

NumberedLine ToNumberedLine(int64_t number, const LogLine& line) {
  constexpr int64_t kLatest = std::numeric_limits<int64_t>::max() / 1'000'000'000;
  NumberedLine result{
      .number = number,
      .time = absl::FromUnixSeconds(std::clamp<int64_t>(line.time().seconds(), 0, kLatest - 1)) +
              absl::Nanoseconds(std::clamp(line.time().nanos(), 0, 999'999'999)),
      .text = line.text()};
  if (result.text.size() > kMaxTextBytes) {
    result.text = Shortened(result.text, kMaxTextBytes - 3);
  }
  std::replace(result.text.begin(), result.text.end(), '\n', ' ');
  return result;
}

int64_t BytesBelow(const std::filesystem::path& folder) {
  int64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, error)) {
    std::error_code gone;
    const uintmax_t size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
    if (!gone) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

absl::Status CannotStore(const absl::Status& cause, const std::string& task_id, TaskLog& task) {
  if (!std::exchange(task.failing, true)) {
    spdlog::error("cannot keep log lines of {}: {}", task_id, cause.ToString());
  }
  return absl::UnavailableError("the coordinator's disk takes no log lines at present");
}

}  // namespace

LogStore::LogStore(std::filesystem::path directory, const LogLimits& limits, absl::Time now)
    : directory_(std::move(directory)),
      limits_(limits),
      // A limit is kept to within such a piece.
      line_options_{.segment_bytes = std::clamp<int64_t>(limits.job_bytes / 64, 4 << 10, 1 << 20)},
      opened_(now) {}

absl::StatusOr<std::unique_ptr<LogStore>> LogStore::Open(const std::filesystem::path& directory,
                                                         const LogLimits& limits, absl::Time now) {
  WF_RETURN_IF_ERROR(CreateDirectories(directory));
  auto store = std::unique_ptr<LogStore>(new LogStore(directory, limits, now));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string job = entry.path().filename().string();
    if (!IsResourceId(job) || !entry.is_directory(error)) continue;
    auto logs = std::make_shared<JobLogs>();
    store->Count(*logs, BytesBelow(entry.path()));
    store->jobs_[job] = std::move(logs);
  }
  if (error) return ErrnoToStatus(error.value(), "cannot list the logs in " + directory.string());
  store->RemoveDetached();
  return store;
}

std::shared_ptr<LogStore::JobLogs> LogStore::Find(const std::string& job) const {
  std::lock_guard lock(mutex_);
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? nullptr : found->second;
}

std::map<std::string, std::shared_ptr<LogStore::JobLogs>> LogStore::AllJobs() const {
  std::lock_guard lock(mutex_);
  return jobs_;
}

void LogStore::Count(JobLogs& logs, int64_t bytes) {
  logs.bytes += bytes;
  total_ += bytes;
}

void LogStore::Load(const std::string& job, JobLogs& logs) {
  if (std::exchange(logs.loaded, true)) return;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / job, error)) {
    std::optional<TaskLog> task = ParseFolder(entry.path().filename().string());
    if (!task) continue;
    auto lines = LineLog::Open(entry.path(), line_options_);
    if (!lines.ok()) {
      spdlog::error("a log of jobs/{} cannot be read: {}", job, lines.status().ToString());
      continue;
    }
    std::error_code unknown;
    task->complete = std::filesystem::exists(entry.path() / kCompleteFile, unknown);
    task->lines = *std::move(lines);
    logs.tasks[{task->epoch, task->rank}] = *std::move(task);
  }
}

void LogStore::JobsCommitted(const std::vector<JobRecord>& records) {
  for (const JobRecord& record : records) {
    if (!HasAttempt(record.job().state())) continue;
    std::shared_ptr<JobLogs> logs;
    {
      std::lock_guard lock(mutex_);
      std::shared_ptr<JobLogs>& entry = jobs_[JobId(record)];
      if (entry == nullptr) entry = std::make_shared<JobLogs>();
      if (std::exchange(entry->epoch, record.job().epoch()) == record.job().epoch()) continue;
      logs = entry;
    }
    std::lock_guard lock(logs->mutex);
    Register(record, *logs);
  }
}

void LogStore::Register(const JobRecord& record, JobLogs& logs) {
  const std::string job = JobId(record);
  Load(job, logs);
  for (const TaskRecord& rank : record.tasks()) {
    if (rank.epoch() != record.job().epoch() || logs.tasks.contains({rank.epoch(), rank.rank()})) {
      continue;
    }
    TaskLog task{.attempt = record.job().attempt(),
                 .epoch = rank.epoch(),
                 .rank = rank.rank(),
                 .worker = rank.worker()};
    auto lines = LineLog::Open(directory_ / job / FolderOf(task), line_options_);
    if (!lines.ok()) {
      spdlog::error("the log of rank {} of jobs/{} is not kept: {}", rank.rank(), job,
                    lines.status().ToString());
      continue;
    }
    task.lines = *std::move(lines);
    logs.tasks[{task.epoch, task.rank}] = std::move(task);
  }
  while (logs.tasks.size() > kMaxTasksPerJob &&
         logs.tasks.begin()->second.epoch < record.job().epoch()) {
    const TaskLog& oldest = logs.tasks.begin()->second;
    Count(logs, -oldest.lines->bytes());
    std::error_code ignored;
    std::filesystem::remove_all(directory_ / job / FolderOf(oldest), ignored);
    logs.tasks.erase(logs.tasks.begin());
  }
}

absl::StatusOr<int64_t> LogStore::Append(const std::string& worker,
                                         const ReportLogsRequest::Chunk& chunk) {
  const int64_t end = chunk.first_line() + chunk.lines_size();
  const std::optional<TaskName> name = ParseTaskId(chunk.task_id());
  const std::shared_ptr<JobLogs> logs = name ? Find(name->job) : nullptr;
  if (logs == nullptr) return end;
  std::lock_guard lock(logs->mutex);
  if (logs->removed) return end;
  Load(name->job, *logs);
  const auto found = logs->tasks.find({name->epoch, name->rank});
  if (found == logs->tasks.end() || found->second.worker != worker || found->second.complete) {
    return end;
  }
  TaskLog& task = found->second;
  const std::filesystem::path folder = directory_ / name->job / FolderOf(task);
  if (std::error_code error; !std::filesystem::exists(folder, error)) {
    // Somebody removed it by hand: what comes from now on is kept.
    auto again = LineLog::Open(folder, line_options_);
    if (!again.ok()) return CannotStore(again.status(), chunk.task_id(), task);
    Count(*logs, -task.lines->bytes());
    task.lines = *std::move(again);
  }
  std::vector<NumberedLine> lines;
  int64_t number = chunk.first_line();
  for (const LogLine& line : chunk.lines()) {
    if (number >= task.lines->next()) lines.push_back(ToNumberedLine(number, line));
    ++number;
  }
  const int64_t before = task.lines->bytes();
  const absl::Status taken = task.lines->Append(lines);
  Count(*logs, task.lines->bytes() - before);
  if (!taken.ok()) return CannotStore(taken, chunk.task_id(), task);
  if (chunk.complete()) {
    const std::filesystem::path path = folder / kCompleteFile;
    const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!fd.valid()) {
      return CannotStore(ErrnoToStatus(errno, "cannot create " + path.string()), chunk.task_id(),
                         task);
    }
    task.complete = true;
  }
  task.failing = false;
  while (logs->bytes > limits_.job_bytes && DropOldest(*logs)) continue;
  return std::max(end, task.lines->next());
}

bool LogStore::DropOldest(JobLogs& logs) {
  const auto oldest =
      std::min_element(logs.tasks.begin(), logs.tasks.end(), [](const auto& a, const auto& b) {
        return a.second.lines->oldest() < b.second.lines->oldest();
      });
  if (oldest == logs.tasks.end()) return false;
  LineLog& lines = *oldest->second.lines;
  const int64_t before = lines.bytes();
  if (!lines.DropOldest()) return false;
  Count(logs, lines.bytes() - before);
  return true;
}

std::vector<TaskLog> LogStore::Tasks(const std::string& job) {
  std::vector<TaskLog> tasks;
  const std::shared_ptr<JobLogs> logs = Find(job);
  if (logs == nullptr) return tasks;
  std::lock_guard lock(logs->mutex);
  if (logs->removed) return tasks;
  Load(job, *logs);
  for (const auto& [key, task] : logs->tasks) tasks.push_back(task);
  return tasks;
}

void LogStore::Detach(const std::string& job) {
  std::shared_ptr<JobLogs> logs;
  {
    std::lock_guard lock(mutex_);
    const auto found = jobs_.find(job);
    if (found == jobs_.end()) return;
    logs = std::move(found->second);
    jobs_.erase(found);
  }
  std::lock_guard lock(logs->mutex);
  logs->removed = true;
  Count(*logs, -logs->bytes);
  const std::string aside = fmt::format("{}{}.{}", kDetached, job, RandomHex(8));
  std::error_code error;
  std::filesystem::rename(directory_ / job, directory_ / aside, error);
  if (error && error != std::errc::no_such_file_or_directory) {
    spdlog::warn("the logs of jobs/{} cannot be removed: {}", job, error.message());
  }
}

void LogStore::RemoveDetached() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    if (!entry.path().filename().string().starts_with(kDetached)) continue;
    std::error_code ignored;  // tried again by the next one
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

bool LogStore::TakeSweep(absl::Duration now) {
  const bool full = total_ > limits_.total_bytes;
  if (now - swept_ < (full ? kSweepIntervalWhenFull : kSweepInterval)) return false;
  swept_ = now;
  return true;
}

void LogStore::Sweep(const EndOf& end_of, absl::Time now) {
  const absl::Cleanup remove = [this] { RemoveDetached(); };
  std::vector<std::pair<absl::Time, std::string>> ended;
  for (const auto& [job, logs] : AllJobs()) {
    const absl::StatusOr<absl::Time> end = end_of(job);
    if (absl::IsNotFound(end.status()) || (end.ok() && *end + limits_.retention < now)) {
      Detach(job);
    } else if (end.ok() && *end != absl::InfiniteFuture()) {
      ended.emplace_back(*end, job);
    }
  }
  if (total_ <= limits_.total_bytes) return;
  const auto enough =
      static_cast<int64_t>(kShareAfterSweep * static_cast<double>(limits_.total_bytes));
  std::sort(ended.begin(), ended.end());
  for (const auto& [end, job] : ended) {
    if (total_ <= enough) return;
    spdlog::info("the logs of jobs/{} are removed: all logs have more than {} bytes", job,
                 limits_.total_bytes);
    Detach(job);
  }
  // Only jobs that live are left: from those that have most.
  const auto live = AllJobs();
  while (total_ > enough) {
    const auto largest = std::max_element(
        live.begin(), live.end(),
        [](const auto& a, const auto& b) { return a.second->bytes < b.second->bytes; });
    if (largest == live.end()) return;
    std::lock_guard lock(largest->second->mutex);
    if (largest->second->removed) return;
    Load(largest->first, *largest->second);
    if (!DropOldest(*largest->second)) return;
  }
}

}  // namespace wavefield::coordinator
