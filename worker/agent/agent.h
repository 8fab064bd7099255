#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/file.h"
#include "proto/rpc/channel.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/log_outbox.h"
#include "worker/agent/log_shipper.h"
#include "worker/agent/rendezvous_relay.h"
#include "worker/agent/reporter.h"
#include "worker/agent/session.h"
#include "worker/agent/spool.h"
#include "worker/agent/task_runner.h"

namespace wavefield {

struct AgentOptions {
  ConnectionOptions connection;
  SessionOptions session;  // the incarnation is made up by the agent
  TaskRunnerOptions runner;
  // When the worker itself ends, training may take so long for a last checkpoint.
  absl::Duration drain_timeout = absl::Seconds(30);
  // … and what runs then is killed after so long.
  absl::Duration shutdown_grace = absl::Seconds(2);
};

// Makes the data directory if need be, and locks it. FAILED_PRECONDITION when another worker uses
// it.
absl::StatusOr<FileLock> LockDataDirectory(const std::filesystem::path& data_dir);

// A worker: everything between the coordinator and the trainers of this host. Its data directory
// (runner.task.data_dir) holds
//   lock         one worker at a time
//   spool/       events on their way, in a folder per incarnation
//   logs/        what ranks printed: {job}/epoch-{e}-rank-{r}.log, inference/{id}.log
//   log-outbox/  lines of it on their way: {job}/{e}/{r}/
//   tasks/       the assignments of those that run
class Agent {
 public:
  // `lock`: of the data directory. Does not wait for the coordinator.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(AgentOptions options, FileLock lock);

  // Lets training end in an orderly way, ends what still runs, and reports that if the coordinator
  // can be reached within `shutdown_grace`.
  ~Agent();

 private:
  Agent(FileLock lock, Connection connection, std::unique_ptr<Spool> spool,
        std::unique_ptr<LogOutbox> outbox);
  absl::Status StartParts(AgentOptions options);
  void WatchLoop();
  absl::Status Watch(OutcomeLog& log);

  const FileLock lock_;
  CoordinatorLink link_;
  const std::unique_ptr<Spool> spool_;
  const std::unique_ptr<LogOutbox> outbox_;
  v1::WatchAssignmentsRequest watch_request_;
  absl::Duration drain_timeout_;
  absl::Duration shutdown_grace_;
  int64_t watch_revisions_ = 0;  // of the watch's thread

  // The two refer to each other; the runner is shut down before the relay ends.
  std::unique_ptr<TaskRunner> runner_;
  std::unique_ptr<RendezvousRelay> relay_;
  std::optional<Reporter> reporter_;
  std::optional<LogShipper> log_shipper_;
  std::optional<Session> session_;
  std::thread watch_;
};

}  // namespace wavefield
