#include "coordinator/logs/log_cursor.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"

namespace wavefield::coordinator {
namespace {

// Late lines of an attempt are waited for until so many others have begun.
constexpr int32_t kLateAttempts = 16;
constexpr size_t kMaxTextBytes = 1 << 20;

absl::Status BadCursor(const std::string& text) {
  return InvalidField("cursor", fmt::format("'{}' was not given out for this job's logs; leave it "
                                            "empty to read from the beginning",
                                            Shortened(text, 40)));
}

}  // namespace

// "{job} {first attempt} {attempt}.{rank}.{next} …", in base64.
std::string LogCursor::ToString(const std::string& job) const {
  std::string text = fmt::format("{} {}", job, first_attempt_);
  for (const auto& [key, next] : next_) {
    text += fmt::format(" {}.{}.{}", key.first, key.second, next);
  }
  std::string cursor;
  absl::WebSafeBase64Escape(text, &cursor);
  return cursor;
}

absl::StatusOr<LogCursor> LogCursor::Parse(const std::string& job, const std::string& text) {
  LogCursor cursor;
  if (text.empty()) return cursor;
  std::string plain;
  if (text.size() > kMaxTextBytes || !absl::WebSafeBase64Unescape(text, &plain)) {
    return BadCursor(text);
  }
  const std::vector<std::string> words = absl::StrSplit(plain, ' ');
  if (words.size() < 2 || words[0] != job || !absl::SimpleAtoi(words[1], &cursor.first_attempt_)) {
    return BadCursor(text);
  }
  for (size_t i = 2; i < words.size(); ++i) {
    const std::vector<std::string> parts = absl::StrSplit(words[i], '.');
    int32_t attempt = 0;
    int32_t rank = 0;
    int64_t next = 0;
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &attempt) ||
        !absl::SimpleAtoi(parts[1], &rank) || !absl::SimpleAtoi(parts[2], &next) || next < 0) {
      return BadCursor(text);
    }
    cursor.next_[{attempt, rank}] = next;
  }
  return cursor;
}

int64_t LogCursor::Next(const TaskLog& task) const {
  const auto found = next_.find({task.attempt, task.rank});
  return found == next_.end() ? 0 : found->second;
}

void LogCursor::Shorten(const std::vector<TaskLog>& tasks) {
  if (tasks.empty()) return;
  const int32_t newest = tasks.back().attempt;
  int32_t first = newest;
  for (const TaskLog& task : tasks) {
    if (IsPast(task)) continue;
    if (Next(task) < task.lines->next()) {
      first = std::min(first, task.attempt);
    } else if (!task.complete) {
      first = std::min(first, std::max(task.attempt, newest - kLateAttempts));
    }
  }
  first_attempt_ = std::max(first_attempt_, first);
  next_.erase(next_.begin(), next_.lower_bound({first_attempt_, INT32_MIN}));
}

}  // namespace wavefield::coordinator
