#include "worker/agent/agent.h"

#include <spdlog/spdlog.h>

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

std::string NewIncarnation() {
  std::random_device random;
  std::string text;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&text, absl::Hex(random(), absl::kZeroPad8));
  return text;
}

// Ranks end with their worker, and the coordinator takes events of its present incarnation alone.
// So what an earlier one left behind is told here, and removed.
void DropSpools(const std::filesystem::path& spools) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(spools, error)) {
    if (const auto spool = Spool::Open({.directory = entry.path()}); spool.ok()) {
      int64_t after = (*spool)->acknowledged();
      int64_t dropped = 0;
      for (auto events = (*spool)->Read(after, 1000, 1 << 20); !events.empty();
           events = (*spool)->Read(after, 1000, 1 << 20)) {
        for (const v1::WorkerEvent& event : events) {
          if (!event.has_trainer() || !event.trainer().has_checkpoint_saved()) continue;
          const LogScope about(TaskLogFields(event.task_id()));
          spdlog::warn(
              "spool: an earlier run of this worker did not report the checkpoint {} of {}",
              event.trainer().checkpoint_saved().directory(), event.task_id());
        }
        dropped += static_cast<int64_t>(events.size());
        after = events.back().sequence();
      }
      if (dropped > 0) {
        spdlog::warn("spool: {} events of an earlier run of this worker are dropped", dropped);
      }
    }
    std::filesystem::remove_all(entry.path(), error);
  }
}

}  // namespace

absl::StatusOr<FileLock> LockDataDirectory(const std::filesystem::path& data_dir) {
  WF_RETURN_IF_ERROR(CreateDirectories(data_dir));
  absl::StatusOr<FileLock> lock = FileLock::Acquire(data_dir / "lock");
  if (!absl::IsFailedPrecondition(lock.status())) return lock;
  return absl::FailedPreconditionError(
      absl::StrCat("another worker uses ", data_dir.string(),
                   "; end it, or give this one a --data-dir of its own"));
}

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(AgentOptions options, FileLock lock) {
  const std::filesystem::path data_dir = options.runner.task.data_dir;
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(options.connection));
  DropSpools(data_dir / "spool");
  std::error_code ignored;
  std::filesystem::remove_all(data_dir / "tasks", ignored);

  options.session.identity.set_incarnation(NewIncarnation());
  options.session.state_directory = data_dir;
  WF_ASSIGN_OR_RETURN(
      std::unique_ptr<Spool> spool,
      Spool::Open({.directory = data_dir / "spool" / options.session.identity.incarnation()}));
  WF_ASSIGN_OR_RETURN(std::unique_ptr<LogOutbox> outbox,
                      LogOutbox::Open({.directory = data_dir / "log-outbox"}));
  options.runner.task.outbox = outbox.get();
  auto agent = std::unique_ptr<Agent>(
      new Agent(std::move(lock), std::move(connection), std::move(spool), std::move(outbox)));
  agent->drain_timeout_ = options.drain_timeout;
  agent->shutdown_grace_ = options.shutdown_grace;
  WF_RETURN_IF_ERROR(agent->StartParts(std::move(options)));
  return agent;
}

Agent::Agent(FileLock lock, Connection connection, std::unique_ptr<Spool> spool,
             std::unique_ptr<LogOutbox> outbox)
    : lock_(std::move(lock)),
      link_(std::move(connection)),
      spool_(std::move(spool)),
      outbox_(std::move(outbox)) {}

absl::Status Agent::StartParts(AgentOptions options) {
  const v1::RegisterWorkerRequest& identity = options.session.identity;
  watch_request_.set_name("workers/" + identity.worker_id());
  watch_request_.set_incarnation(identity.incarnation());
  relay_ = std::make_unique<RendezvousRelay>(
      link_, [this](const std::string& task_id, RendezvousReply reply) {
        runner_->DeliverRendezvous(task_id, std::move(reply));
      });
  TaskRunnerCallbacks callbacks;
  callbacks.event = [this](v1::WorkerEvent event) { return spool_->Append(std::move(event)); };
  callbacks.rendezvous_set = [this](const v1::Assignment& assignment, const RendezvousSet& set) {
    relay_->Set(assignment, set);
  };
  callbacks.rendezvous_wait = [this](const v1::Assignment& assignment, const RendezvousWait& wait) {
    relay_->Wait(assignment, wait);
  };
  callbacks.ended = [this](const std::string& task_id) { relay_->Cancel(task_id); };
  WF_ASSIGN_OR_RETURN(runner_, TaskRunner::Start(std::move(options.runner), std::move(callbacks)));
  reporter_.emplace(identity.worker_id(), identity.incarnation(), link_, *runner_, *spool_);
  log_shipper_.emplace(identity.worker_id(), identity.incarnation(), link_, *outbox_);
  session_.emplace(std::move(options.session), link_, *runner_, *spool_);
  watch_ = std::thread([this] { WatchLoop(); });
  return absl::OkStatus();
}

void Agent::WatchLoop() {
  OutcomeLog watch(absl::StrCat("assignments from ", link_.address()));
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(2));
  while (link_.WaitRegistered()) {
    const int64_t begun = watch_revisions_;
    const absl::Status status = Watch(watch);
    watch.Note(status);
    if (watch_revisions_ > begun) backoff.Reset();
    if (absl::IsNotFound(status)) link_.SetRegistered(false);
    link_.Pause(backoff.Next());
  }
}

absl::Status Agent::Watch(OutcomeLog& log) {
  return link_.Call(absl::InfiniteDuration(), [&](grpc::ClientContext& context) {
    const auto stream = link_.stub().WatchAssignments(&context, watch_request_);
    v1::AssignmentList list;
    while (stream->Read(&list)) {
      ++watch_revisions_;
      link_.Heard();
      log.Note(absl::OkStatus());
      runner_->Reconcile(list);
    }
    return stream->Finish();
  });
}

Agent::~Agent() {
  if (session_) {
    session_->Drain();
    runner_->Drain(drain_timeout_);
  }
  if (runner_ != nullptr) runner_->Shutdown("the worker is shutting down", shutdown_grace_);
  const absl::Duration flushed_by = Clock::Real().Monotonic() + shutdown_grace_;
  if (reporter_) reporter_->Flush(shutdown_grace_);
  if (log_shipper_) log_shipper_->Flush(flushed_by - Clock::Real().Monotonic());
  link_.Stop();
  if (watch_.joinable()) watch_.join();
  session_.reset();
  reporter_.reset();
  log_shipper_.reset();
  relay_.reset();
}

}  // namespace wavefield
