// What a job's ranks printed, for people: JobService.ReadLogs.
#include <fmt/format.h>

#include <algorithm>

#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/logs/log_reader.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMessageBytes = 256 << 10;
constexpr int kMessageLines = 2000;
// After a job's end, or the coordinator's start, how long workers have to send the last lines.
constexpr absl::Duration kLastLinesGrace = absl::Seconds(10);

absl::StatusOr<LogSelection> SelectionOf(const v1::ReadLogsRequest& request) {
  LogSelection selection;
  if (request.has_rank()) selection.rank = request.rank();
  if (request.rank() < 0) {
    return InvalidField("rank", fmt::format("is {}; allowed: 0 and up", request.rank()));
  }
  selection.attempt = request.attempt();
  if (request.attempt() < 0) {
    return InvalidField("attempt",
                        fmt::format("is {}; allowed: 0 (all of them) and up", request.attempt()));
  }
  if (request.tail() < 0) {
    return InvalidField("tail", fmt::format("is {}; allowed: 0 (all) and up", request.tail()));
  }
  if (request.has_since()) selection.since = FromTimestamp(request.since());
  return selection;
}

// Lines gathered into messages. The store is read again for each: a slow reader keeps nothing here
// but one message.
class LogSender {
 public:
  LogSender(const std::string& job, const LogReader& reader,
            StreamWriter<v1::ReadLogsResponse>& stream)
      : job_(job), reader_(reader), stream_(stream) {}

  // False when the client is gone.
  bool Add(const TaskLog& task, const NumberedLine& line, int64_t skipped) {
    const bool full = bytes_ >= kMessageBytes || response_.lines_size() >= kMessageLines;
    if ((full || skipped > 0) && !Flush()) return false;
    response_.set_skipped_lines(response_.skipped_lines() + skipped);
    v1::LogLine& out = *response_.add_lines();
    *out.mutable_time() = ToTimestamp(line.time);
    out.set_attempt(task.attempt);
    out.set_rank(task.rank);
    out.set_worker("workers/" + task.worker);
    out.set_text(line.text);
    bytes_ += out.ByteSizeLong();
    return true;
  }

  bool Flush() {
    if (response_.lines().empty()) return true;
    response_.set_cursor(reader_.cursor().ToString(job_));
    const bool sent = stream_.Write(response_);
    response_.Clear();
    bytes_ = 0;
    return sent;
  }

 private:
  const std::string& job_;
  const LogReader& reader_;
  StreamWriter<v1::ReadLogsResponse>& stream_;
  v1::ReadLogsResponse response_;
  size_t bytes_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::ReadLogsResponse>* JobService::ReadLogs(
    grpc::CallbackServerContext*, const v1::ReadLogsRequest* request) {
  using Reactor = BlockingWriteReactor<v1::ReadLogsResponse>;
  return Reactor::Run(context_.streams,
                      [=, this, request = *request](StreamWriter<v1::ReadLogsResponse>& stream) {
                        return SendLogs(request, stream);
                      });
}

absl::Status JobService::SendLogs(const v1::ReadLogsRequest& request,
                                  StreamWriter<v1::ReadLogsResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.name()));
  WF_ASSIGN_OR_RETURN(const LogSelection selection, SelectionOf(request));
  WF_ASSIGN_OR_RETURN(LogCursor cursor, LogCursor::Parse(id, request.cursor()));
  const OpenWatch open(context_.metrics);
  const auto signal = context_.cluster.signals().Get("logs/" + id);
  LogReader reader(context_.logs, id, selection, std::move(cursor));
  LogSender sender(id, reader, stream);
  bool begun = false;
  while (!stream.cancelled()) {
    const uint64_t seen = signal->version();
    // Before the lines are read: those that came while this was asked are read too.
    WF_ASSIGN_OR_RETURN(const bool complete, LogsAreComplete(id));
    if (!std::exchange(begun, true) && request.tail() > 0) {
      WF_RETURN_IF_ERROR(reader.KeepLast(request.tail()));
    }
    WF_RETURN_IF_ERROR(
        reader.ReadOn([&](const TaskLog& task, const NumberedLine& line, int64_t skipped) {
          return sender.Add(task, line, skipped);
        }));
    if (!sender.Flush()) break;
    if (!request.follow() || complete) return absl::OkStatus();
    signal->WaitPast(seen, kStreamPoll);
  }
  return absl::CancelledError("the reading of logs was ended");
}

// Nothing more will come. NOT_FOUND when there is no such job.
absl::StatusOr<bool> JobService::LogsAreComplete(const std::string& id) {
  const auto live = context_.cluster.FindLiveJob(id);
  if (live != nullptr && !HasEnded(live->job().state())) return false;
  v1::Job job;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const JobRecord record, reader.GetJob(id));
    job = record.job();
    return absl::OkStatus();
  }));
  if (!HasEnded(job.state())) return false;
  const absl::Time waits_from = std::max(FromTimestamp(job.end_time()), context_.logs.opened());
  if (context_.clock.Now() - waits_from > kLastLinesGrace) return true;
  const std::vector<TaskLog> tasks = context_.logs.Tasks(id);
  return std::all_of(tasks.begin(), tasks.end(), [](const TaskLog& task) { return task.complete; });
}

}  // namespace wavefield::coordinator
