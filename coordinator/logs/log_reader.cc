#include "coordinator/logs/log_reader.h"

#include <algorithm>
#include <memory>
#include <queue>

#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

// Of all ranks together, and of one at most.
constexpr int64_t kBufferBytes = 4 << 20;
constexpr int64_t kRankBufferBytes = 64 << 10;

struct Source {
  const TaskLog* task;
  LinePosition position;  // behind `lines`
  std::vector<NumberedLine> lines;
  size_t at = 0;
  int64_t wanted = 0;  // number of the next line, if none is missing
  int64_t skipped = 0;

  const NumberedLine& line() const { return lines[at]; }
  std::pair<int32_t, int32_t> key() const { return {task->attempt, task->rank}; }
};

struct IsLater {
  bool operator()(const Source* a, const Source* b) const {
    return std::make_pair(a->line().time, a->task->rank) >
           std::make_pair(b->line().time, b->task->rank);
  }
};

}  // namespace

absl::Status LogReader::ReadOn(const Visit& visit) {
  std::vector<TaskLog> tasks = store_.Tasks(job_);
  std::erase_if(tasks, [&](const TaskLog& task) {
    return (selection_.rank && task.rank != *selection_.rank) ||
           (selection_.attempt != 0 && task.attempt != selection_.attempt);
  });
  cursor_.Shorten(tasks);
  bool go_on = true;
  for (auto begin = tasks.begin(); begin != tasks.end() && go_on;) {
    const auto end = std::find_if(
        begin, tasks.end(), [&](const TaskLog& task) { return task.attempt != begin->attempt; });
    WF_RETURN_IF_ERROR(ReadAttempt(std::vector<TaskLog>(begin, end), visit, go_on));
    begin = end;
  }
  return absl::OkStatus();
}

absl::Status LogReader::ReadAttempt(const std::vector<TaskLog>& tasks, const Visit& visit,
                                    bool& go_on) {
  std::vector<std::unique_ptr<Source>> sources;
  for (const TaskLog& task : tasks) {
    if (cursor_.IsPast(task) || cursor_.Next(task) >= task.lines->next()) continue;
    Source& source = *sources.emplace_back(std::make_unique<Source>());
    source.task = &task;
    source.wanted = cursor_.Next(task);
    const auto known = positions_.find(source.key());
    source.position = known != positions_.end() && known->second.next == source.wanted
                          ? known->second
                          : LinePosition{.next = source.wanted};
  }
  if (sources.empty()) return absl::OkStatus();
  const int64_t buffer =
      std::min(kRankBufferBytes, kBufferBytes / static_cast<int64_t>(sources.size()));
  std::priority_queue<Source*, std::vector<Source*>, IsLater> queue;
  const auto fill = [&](Source& source) -> absl::Status {
    source.at = 0;
    WF_RETURN_IF_ERROR(source.task->lines->Read(source.position, buffer, source.lines));
    positions_[source.key()] = source.position;
    if (!source.lines.empty()) {
      queue.push(&source);
    } else if (source.task->complete) {
      // The last of them may be lost.
      cursor_.Advance(*source.task, source.task->lines->next());
    }
    return absl::OkStatus();
  };
  for (const auto& source : sources) WF_RETURN_IF_ERROR(fill(*source));
  while (!queue.empty()) {
    Source& source = *queue.top();
    queue.pop();
    const NumberedLine& line = source.line();
    source.skipped += line.number - source.wanted;
    source.wanted = line.number + 1;
    if (line.time < selection_.since) {
      source.skipped = 0;
    } else if (!visit(*source.task, line, std::exchange(source.skipped, 0))) {
      go_on = false;
      return absl::OkStatus();
    }
    cursor_.Advance(*source.task, source.wanted);
    if (++source.at < source.lines.size()) {
      queue.push(&source);
    } else {
      WF_RETURN_IF_ERROR(fill(source));
    }
  }
  return absl::OkStatus();
}

absl::Status LogReader::KeepLast(int64_t count) {
  const LogCursor begin = cursor_;
  int64_t lines = 0;
  WF_RETURN_IF_ERROR(ReadOn([&](const TaskLog&, const NumberedLine&, int64_t) {
    ++lines;
    return true;
  }));
  cursor_ = begin;
  return ReadOn([&](const TaskLog&, const NumberedLine&, int64_t) { return lines-- > count; });
}

}  // namespace wavefield::coordinator
