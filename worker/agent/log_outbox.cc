#include "worker/agent/log_outbox.h"

#include <google/protobuf/util/time_util.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

using google::protobuf::util::TimeUtil;

// "JOB/EPOCH/RANK".
constexpr int kTaskIdParts = 3;

}  // namespace

absl::StatusOr<std::unique_ptr<LogOutbox>> LogOutbox::Open(const LogOutboxOptions& options) {
  WF_RETURN_IF_ERROR(CreateDirectories(options.directory));
  auto outbox = std::unique_ptr<LogOutbox>(new LogOutbox(options));
  const absl::MutexLock lock(&outbox->mutex_);
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(options.directory, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator();
       entry.increment(error)) {
    if (entry.depth() + 1 < kTaskIdParts || !entry->is_directory(error)) continue;
    entry.disable_recursion_pending();
    outbox->TakeUp(entry->path());
  }
  return outbox;
}

void LogOutbox::TakeUp(const std::filesystem::path& folder) {
  const std::string task_id = folder.lexically_relative(options_.directory).string();
  absl::StatusOr<Entry> entry = OpenEntry(task_id);
  if (!entry.ok()) {
    spdlog::warn("log lines of {} are not sent: {}", task_id, entry.status().ToString());
    return;
  }
  entry->ended = true;
  entries_[task_id] = *std::move(entry);
}

absl::StatusOr<LogOutbox::Entry> LogOutbox::OpenEntry(const std::string& task_id) const {
  Entry entry;
  WF_ASSIGN_OR_RETURN(entry.log, LineLog::Open(options_.directory / task_id,
                                               {.segment_bytes = options_.segment_bytes}));
  entry.next = entry.stored = entry.log->next();
  return entry;
}

void LogOutbox::RemoveFolder(const std::string& task_id) const {
  std::filesystem::path folder = options_.directory / task_id;
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  // Folders above it that are empty now.
  for (int i = 1; i < kTaskIdParts; ++i) {
    folder = folder.parent_path();
    if (!std::filesystem::remove(folder, error) || error) return;
  }
}

void LogOutbox::Begin(const std::string& task_id) {
  const absl::MutexLock lock(&mutex_);
  entries_.erase(task_id);
  RemoveFolder(task_id);
  absl::StatusOr<Entry> entry = OpenEntry(task_id);
  if (entry.ok()) {
    entries_[task_id] = *std::move(entry);
  } else {
    spdlog::warn("log lines of {} are not sent: {}", task_id, entry.status().ToString());
  }
}

void LogOutbox::Append(const std::string& task_id, std::vector<std::string> texts,
                       absl::Time time) {
  std::shared_ptr<LineLog> log;
  std::vector<NumberedLine> lines;
  {
    const absl::MutexLock lock(&mutex_);
    const auto entry = entries_.find(task_id);
    if (entry == entries_.end()) return;
    log = entry->second.log;
    for (std::string& text : texts) {
      lines.push_back({entry->second.next++, time, std::move(text)});
    }
  }
  const absl::Status appended = log->Append(lines);
  const absl::MutexLock lock(&mutex_);
  if (!appended.ok() && !complained_) {
    spdlog::warn("log lines are not kept for the coordinator: {}", appended.ToString());
  }
  complained_ = !appended.ok();
  const auto entry = entries_.find(task_id);
  if (entry == entries_.end() || entry->second.log != log) return;
  entry->second.stored = log->next();
  Trim(*log);
}

void LogOutbox::Trim(LineLog& log) {
  while (log.bytes() > options_.task_bytes && log.DropOldest()) continue;
  int64_t total = 0;
  for (const auto& [id, entry] : entries_) total += entry.log->bytes();
  while (total > options_.total_bytes) {
    const auto oldest =
        std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
          return a.second.log->oldest() < b.second.log->oldest();
        });
    const int64_t before = oldest->second.log->bytes();
    if (!oldest->second.log->DropOldest()) return;
    total -= before - oldest->second.log->bytes();
  }
}

void LogOutbox::End(const std::string& task_id) {
  const absl::MutexLock lock(&mutex_);
  const auto entry = entries_.find(task_id);
  if (entry != entries_.end()) entry->second.ended = true;
}

std::vector<LogOutbox::Chunk> LogOutbox::NextBatch(int64_t max_bytes, size_t max_chunks) {
  // The next in turn first. Files are read without the lock: ranks do not wait for that.
  std::vector<std::pair<std::string, Entry>> turn;
  {
    const absl::MutexLock lock(&mutex_);
    turn.assign(entries_.begin(), entries_.end());
    const auto next = std::find_if(turn.begin(), turn.end(),
                                   [&](const auto& e) { return e.first > served_last_; });
    std::rotate(turn.begin(), next, turn.end());
  }
  std::vector<Chunk> chunks;
  int64_t used = 0;
  std::string served;
  for (auto& [task_id, entry] : turn) {
    if (used + LineLog::kLeastReadBytes > max_bytes || chunks.size() >= max_chunks) break;
    if (entry.stored <= entry.acknowledged && !entry.ended) continue;
    served = task_id;
    const auto add_chunk = [&, &task_id = task_id](int64_t first_line) {
      chunks.emplace_back().set_task_id(task_id);
      chunks.back().set_first_line(first_line);
    };
    LinePosition position{.next = entry.acknowledged};
    int64_t wanted = -1;
    bool all = false;
    while (!all && used + LineLog::kLeastReadBytes <= max_bytes && chunks.size() < max_chunks) {
      std::vector<NumberedLine> lines;
      const absl::Status read = entry.log->Read(position, max_bytes - used, lines);
      if (!read.ok()) spdlog::warn("log lines of {}: {}", task_id, read.ToString());
      for (NumberedLine& line : lines) {
        const bool gap = line.number != wanted;
        if (gap && chunks.size() >= max_chunks) break;
        if (gap) add_chunk(line.number);
        wanted = line.number + 1;
        v1::LogLine& out = *chunks.back().add_lines();
        *out.mutable_time() = TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(line.time));
        out.set_text(std::move(line.text));
        used += static_cast<int64_t>(out.ByteSizeLong()) + 4;
      }
      // Where there is nothing to read although lines were stored, they are lost.
      all = lines.empty() || wanted >= entry.log->next();
    }
    if (!entry.ended || !all) continue;
    if (wanted < 0) add_chunk(entry.next);
    chunks.back().set_complete(true);
  }
  const absl::MutexLock lock(&mutex_);
  if (!served.empty()) served_last_ = served;
  return chunks;
}

void LogOutbox::Acknowledge(const Chunk& chunk, int64_t next_line) {
  const absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(chunk.task_id());
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.acknowledged = std::max(entry.acknowledged, std::min(next_line, entry.stored));
  if (chunk.complete() && entry.ended && entry.acknowledged >= entry.stored) {
    entries_.erase(found);
    RemoveFolder(chunk.task_id());
  } else {
    entry.log->DropBefore(entry.acknowledged);
  }
}

bool LogOutbox::HasNewsLocked() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) {
    return entry.second.ended || entry.second.stored > entry.second.acknowledged;
  });
}

bool LogOutbox::HasEndedLocked() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const auto& entry) { return entry.second.ended; });
}

bool LogOutbox::HasNews() const {
  const absl::MutexLock lock(&mutex_);
  return HasNewsLocked();
}

bool LogOutbox::WaitForNews(absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  const auto done = [&]()
                        ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || HasNewsLocked(); };
  mutex_.AwaitWithTimeout(absl::Condition(&done), timeout);
  return HasNewsLocked();
}

void LogOutbox::WaitForEnd(absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  const auto done = [&]()
                        ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || HasEndedLocked(); };
  mutex_.AwaitWithTimeout(absl::Condition(&done), timeout);
}

void LogOutbox::StopWaiting() {
  const absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

}  // namespace wavefield
