#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/file.h"
#include "core/base/logging.h"
#include "core/base/subprocess.h"
#include "wavefield/v1/worker_service.pb.h"
#include "worker/agent/channel.h"
#include "worker/agent/log_outbox.h"
#include "worker/agent/rank_log.h"

namespace wavefield {

// What lines of the log about a task tell: "JOB/EPOCH/RANK" has them in its id; of any other task
// nothing is known.
LogFields TaskLogFields(const std::string& task_id);

struct TaskOptions {
  std::filesystem::path trainer_program;
  std::filesystem::path data_dir;
  std::filesystem::path storage_root;
  int threads = 1;
  std::string address;  // where other ranks reach this host
  LogOptions logging;
  RankLogOptions log;
  LogOutbox* outbox = nullptr;  // takes the lines of training ranks; null: they stay here
};

// One trainer process: its channel, its log, and how it is ended. All its descriptors are
// non-blocking, for a poll() loop. Not thread-safe; made on a thread that lives as long as the
// worker. On destruction the whole process group is killed.
class Task {
 public:
  // `environment`: what the slot adds to it.
  static absl::StatusOr<std::unique_ptr<Task>> Start(const v1::Assignment& assignment,
                                                     const TaskOptions& options,
                                                     const std::vector<std::string>& environment);
  ~Task();

  const v1::Assignment& assignment() const { return assignment_; }
  const std::string& id() const { return assignment_.task_id(); }
  pid_t pid() const { return process_.pid(); }

  // −1 once closed by the other side.
  int channel_fd() const { return channel_.get(); }
  int log_fd() const { return log_pipe_.get(); }
  bool HasOutput() const { return !output_.empty(); }

  using Receiver = std::function<void(TrainerMessage)>;
  // Reads what is there, a bounded piece of it. A malformed message gets the task killed.
  void ReadChannel(const Receiver& receive);
  void ReadLog();
  void WriteChannel();

  void Send(const WorkerMessage& message);
  // {"abort"} at once, SIGTERM after half of `grace`, SIGKILL after all of it. The first reason
  // counts.
  void End(const std::string& reason, absl::Duration grace);
  // SIGKILL at once.
  void Kill(const std::string& reason);

  // Sends the signals that are due.
  void Tick(absl::Duration now);

  // The exit once the process has ended and everything it had said was read.
  std::optional<v1::TaskExited> Poll(const Receiver& receive);

 private:
  Task(v1::Assignment assignment, const TaskOptions& options, Subprocess process);
  void PassLinesOn();

  v1::Assignment assignment_;
  std::filesystem::path task_file_;
  LogOutbox* const outbox_;         // null: nobody wants the lines
  std::vector<std::string> lines_;  // for the outbox
  RankLog log_;
  FileDescriptor channel_;
  FileDescriptor log_pipe_;
  Subprocess process_;
  LineBuffer input_;
  std::string output_;
  std::string end_reason_;
  std::optional<absl::Duration> terminate_at_;
  std::optional<absl::Duration> kill_at_;
};

}  // namespace wavefield
