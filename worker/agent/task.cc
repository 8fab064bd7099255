#include "worker/agent/task.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

constexpr size_t kReadBytes = 64 << 10;
// Of the channel or the log, in one go, so that no task starves the others.
constexpr int kReadsPerTurn = 8;
// After the exit: more than pipes and sockets buffer, so that only a process that got away from its
// group could reach it.
constexpr int kReadsAtEnd = 256;
// To a trainer that does not read.
constexpr size_t kMaxOutputBytes = size_t{16} << 20;

std::filesystem::path LogPath(const v1::Assignment& assignment, const TaskOptions& options) {
  const std::filesystem::path logs = options.data_dir / "logs";
  if (!assignment.has_train()) return logs / (assignment.task_id() + ".log");
  const v1::TrainTask& train = assignment.train();
  const std::string job = train.job().substr(train.job().rfind('/') + 1);
  return logs / job / absl::StrCat("epoch-", train.epoch(), "-rank-", train.rank(), ".log");
}

absl::Status SetNonBlocking(int fd) {
  if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0) return absl::OkStatus();
  return ErrnoToStatus(errno, "cannot make a descriptor non-blocking");
}

// False when there is nothing to read now. Closes `fd` at its end.
bool ReadSome(FileDescriptor& fd, std::string& bytes) {
  if (!fd.valid()) return false;
  bytes.resize(kReadBytes);
  ssize_t got;
  do {
    got = ::read(fd.get(), bytes.data(), bytes.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) {
    fd.Close();
    return false;
  }
  bytes.resize(static_cast<size_t>(got));
  return true;
}

}  // namespace

LogFields TaskLogFields(const std::string& task_id) {
  const std::vector<std::string> parts = absl::StrSplit(task_id, '/');
  int64_t epoch = 0;
  int64_t rank = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[1], &epoch) ||
      !absl::SimpleAtoi(parts[2], &rank)) {
    return {};
  }
  return {.job = parts[0], .rank = rank, .epoch = epoch};
}

absl::StatusOr<std::unique_ptr<Task>> Task::Start(const v1::Assignment& assignment,
                                                  const TaskOptions& options,
                                                  const std::vector<std::string>& environment) {
  const std::filesystem::path task_file =
      options.data_dir / "tasks" / (assignment.task_id() + ".json");
  WF_RETURN_IF_ERROR(CreateDirectories(task_file.parent_path()));
  WF_RETURN_IF_ERROR(WriteFileAtomically(task_file, ToJson(assignment, /*pretty=*/true)));

  WF_ASSIGN_OR_RETURN(auto channel, SocketPair());
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "cannot create a pipe");
  FileDescriptor log_read(pipe_fds[0]);
  const FileDescriptor log_write(pipe_fds[1]);
  WF_RETURN_IF_ERROR(SetNonBlocking(channel.first.get()));
  WF_RETURN_IF_ERROR(SetNonBlocking(log_read.get()));

  ProcessOptions process;
  process.command = {options.trainer_program.string(),
                     "run",
                     "--task",
                     task_file.string(),
                     "--storage-root",
                     options.storage_root.string(),
                     "--threads",
                     std::to_string(options.threads),
                     "--address",
                     options.address};
  process.environment = {absl::StrCat("OMP_NUM_THREADS=", options.threads),
                         "WAVEFIELD_LOG_FORMAT=" + options.logging.format,
                         "WAVEFIELD_LOG_LEVEL=" + options.logging.level};
  process.environment.insert(process.environment.end(), environment.begin(), environment.end());
  process.channel_fd = channel.second.get();
  process.stdout_fd = log_write.get();
  process.stderr_fd = log_write.get();
  WF_ASSIGN_OR_RETURN(Subprocess started, Subprocess::Start(process));

  auto task = std::unique_ptr<Task>(new Task(assignment, options, std::move(started)));
  task->task_file_ = task_file;
  task->channel_ = std::move(channel.first);
  task->log_pipe_ = std::move(log_read);
  return task;
}

Task::Task(v1::Assignment assignment, const TaskOptions& options, Subprocess process)
    : assignment_(std::move(assignment)),
      outbox_(assignment_.has_train() ? options.outbox : nullptr),
      log_(
          LogPath(assignment_, options), options.log,
          outbox_ == nullptr ? RankLog::OnLine()
                             : [this](std::string line) { lines_.push_back(std::move(line)); }),
      process_(std::move(process)) {
  if (outbox_ != nullptr) outbox_->Begin(id());
}

Task::~Task() {
  std::error_code error;
  std::filesystem::remove(task_file_, error);
  // Folders that are empty now; the first that is not ends it.
  std::filesystem::path folder = task_file_.parent_path();
  while (folder.filename() != "tasks" && std::filesystem::remove(folder, error) && !error) {
    folder = folder.parent_path();
  }
}

void Task::ReadChannel(const Receiver& receive) {
  std::string bytes;
  std::string line;
  for (int i = 0; i < kReadsPerTurn && ReadSome(channel_, bytes); ++i) {
    input_.Append(bytes);
    while (true) {
      const absl::StatusOr<bool> complete = input_.Next(line);
      if (complete.ok() && !*complete) break;
      absl::StatusOr<TrainerMessage> message =
          complete.ok() ? ParseMessage(line) : complete.status();
      if (!message.ok()) {
        Kill(absl::StrCat("it broke the protocol of its channel: ", message.status().message()));
        channel_.Close();
        return;
      }
      receive(*std::move(message));
    }
  }
}

void Task::ReadLog() {
  const LogScope about(TaskLogFields(id()));
  std::string bytes;
  for (int i = 0; i < kReadsPerTurn && ReadSome(log_pipe_, bytes); ++i) log_.Write(bytes);
  PassLinesOn();
}

void Task::PassLinesOn() {
  if (!lines_.empty()) outbox_->Append(id(), std::exchange(lines_, {}), absl::Now());
}

void Task::WriteChannel() {
  while (!output_.empty() && channel_.valid()) {
    const ssize_t put = ::send(channel_.get(), output_.data(), output_.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return;
    if (put < 0) break;  // closed: the exit follows
    output_.erase(0, static_cast<size_t>(put));
  }
  output_.clear();
}

void Task::Send(const WorkerMessage& message) {
  output_ += EncodeMessage(message);
  WriteChannel();
  if (output_.size() > kMaxOutputBytes) {
    Kill(absl::StrCat("it did not read ", output_.size(), " bytes on its channel"));
  }
}

void Task::End(const std::string& reason, absl::Duration grace) {
  const absl::Duration now = Clock::Real().Monotonic();
  if (end_reason_.empty()) {
    const LogScope about(TaskLogFields(id()));
    spdlog::info("task {}: ending it: {}", id(), reason);
    end_reason_ = reason;
    Send(AbortRequest{reason});
    terminate_at_ = now + grace / 2;
  }
  kill_at_ = std::min(kill_at_.value_or(absl::InfiniteDuration()), now + grace);
}

void Task::Kill(const std::string& reason) {
  const LogScope about(TaskLogFields(id()));
  spdlog::warn("task {}: killed: {}", id(), reason);
  if (end_reason_.empty()) end_reason_ = reason;
  terminate_at_.reset();
  kill_at_.reset();
  process_.Signal(SIGKILL);
}

void Task::Tick(absl::Duration now) {
  if (terminate_at_ && now >= *terminate_at_) {
    terminate_at_.reset();
    process_.Signal(SIGTERM);
  }
  if (kill_at_ && now >= *kill_at_) {
    terminate_at_.reset();
    kill_at_.reset();
    process_.Signal(SIGKILL);
  }
}

std::optional<v1::TaskExited> Task::Poll(const Receiver& receive) {
  const std::optional<ProcessExit> exit = process_.Poll();
  if (!exit) return std::nullopt;
  for (int i = 0; i < kReadsAtEnd && (channel_.valid() || log_pipe_.valid()); ++i) {
    ReadChannel(receive);
    ReadLog();
  }
  log_.Finish();
  PassLinesOn();
  if (outbox_ != nullptr) outbox_->End(id());
  v1::TaskExited exited;
  if (exit->code) exited.set_code(*exit->code);
  if (exit->signal) exited.set_signal(*exit->signal);
  for (std::string& line : log_.LastLines()) exited.add_last_lines(std::move(line));
  if (!end_reason_.empty()) {
    exited.add_last_lines(absl::StrCat("ended by the worker: ", end_reason_));
  }
  // There may be any number of these, and one that went well tells nothing.
  if (assignment_.has_inference() && exit->code == 0) log_.Discard();
  return exited;
}

}  // namespace wavefield
