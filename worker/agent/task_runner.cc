#include "worker/agent/task_runner.h"

#include <google/protobuf/util/time_util.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"

namespace wavefield {
namespace {

// How soon an exit is seen that closed no descriptor, and one that did.
constexpr int kTickMillis = 100;
constexpr int kTickAtEndMillis = 2;
// What a shell answers for a program that could not be run.
constexpr int kCouldNotStart = 127;

int AllSlots(const TaskRunnerOptions& options) {
  return options.slots + (options.gpus == nullptr ? 0 : options.gpus->slots());
}

}  // namespace

absl::StatusOr<std::unique_ptr<TaskRunner>> TaskRunner::Start(TaskRunnerOptions options,
                                                              TaskRunnerCallbacks callbacks) {
  FileDescriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoToStatus(errno, "cannot create an event descriptor");
  return std::unique_ptr<TaskRunner>(
      new TaskRunner(std::move(options), std::move(callbacks), std::move(wake)));
}

TaskRunner::TaskRunner(TaskRunnerOptions options, TaskRunnerCallbacks callbacks,
                       FileDescriptor wake)
    : options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      wake_(std::move(wake)),
      table_(AllSlots(options_)),
      thread_([this] { Loop(); }) {}

TaskRunner::~TaskRunner() {
  if (thread_.joinable()) StopThread();
}

void TaskRunner::StopThread() {
  {
    const absl::MutexLock lock(&mutex_);
    quit_ = true;
  }
  Post([] {});
  thread_.join();
}

void TaskRunner::Reconcile(v1::AssignmentList list) {
  Post([this, list = std::move(list)] {
    if (closed_) return;
    end_reason_ = "it is no longer assigned to this worker";
    table_.Want(list);
  });
}

void TaskRunner::EndAll(std::string reason) {
  Post([this, reason = std::move(reason)] {
    end_reason_ = reason;
    table_.WantNothing();
  });
}

void TaskRunner::Drain(absl::Duration timeout) {
  Post([this] {
    closed_ = true;
    for (auto& [id, task] : tasks_) {
      if (task->assignment().has_train()) {
        task->Send(StopRequest{});
      } else {
        task->End("the worker is shutting down", options_.end_grace);
      }
    }
  });
  AwaitIdle(timeout);
}

void TaskRunner::AwaitIdle(absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  const auto idle = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return idle_; };
  mutex_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

void TaskRunner::Shutdown(const std::string& reason, absl::Duration grace) {
  Post([this, reason, grace] {
    closed_ = true;
    table_.WantNothing();
    for (auto& [id, task] : tasks_) task->End(reason, grace);
  });
  AwaitIdle(grace + absl::Seconds(1));
  StopThread();
}

void TaskRunner::DeliverRendezvous(const std::string& task_id, RendezvousReply reply) {
  Post([this, task_id, reply = std::move(reply)] {
    if (const auto task = tasks_.find(task_id); task != tasks_.end()) task->second->Send(reply);
  });
}

void TaskRunner::Acknowledge(int64_t sequence) {
  Post([this, sequence] { table_.Acknowledge(sequence); });
}

std::vector<v1::RunningTask> TaskRunner::Running() const {
  const absl::MutexLock lock(&mutex_);
  return running_;
}

void TaskRunner::Post(std::function<void()> work) {
  {
    const absl::MutexLock lock(&mutex_);
    posted_.push_back(std::move(work));
    idle_ = false;
  }
  const uint64_t one = 1;
  // Fails only when the counter is full: then the loop wakes all the same.
  [[maybe_unused]] const ssize_t put = ::write(wake_.get(), &one, sizeof(one));
}

void TaskRunner::Loop() {
  while (RunPosted()) {
    Reap();
    Advance();
    Publish();
    PollDescriptors();
  }
  tasks_.clear();
}

bool TaskRunner::RunPosted() {
  std::vector<std::function<void()>> posted;
  bool quit;
  {
    const absl::MutexLock lock(&mutex_);
    posted.swap(posted_);
    quit = quit_;
  }
  for (const auto& work : posted) work();
  return !quit;
}

void TaskRunner::Reap() {
  const absl::Duration now = Clock::Real().Monotonic();
  for (auto it = tasks_.begin(); it != tasks_.end();) {
    Task& task = *it->second;
    task.Tick(now);
    std::optional<v1::TaskExited> exited =
        task.Poll([&](TrainerMessage message) { Receive(task.assignment(), std::move(message)); });
    if (!exited) {
      ++it;
      continue;
    }
    const std::string id = it->first;
    if (options_.gpus != nullptr) options_.gpus->Vacate(task.assignment().slot());
    it = tasks_.erase(it);
    callbacks_.ended(id);
    ReportExit(id, *std::move(exited));
  }
}

void TaskRunner::Advance() {
  const SlotActions actions = table_.Next([this](int slot) {
    return options_.gpus == nullptr ? absl::OkStatus() : options_.gpus->CheckFree(slot);
  });
  for (const auto& [assignment, reason] : actions.refuse) {
    const LogScope about(TaskLogFields(assignment.task_id()));
    spdlog::error("task {}: refused: {}", assignment.task_id(), reason);
    ReportNotStarted(assignment, reason);
  }
  for (const v1::Assignment& assignment : actions.start) StartTask(assignment);
  const auto for_each = [&](const std::vector<std::string>& ids, auto&& act) {
    for (const std::string& id : ids) {
      if (const auto task = tasks_.find(id); task != tasks_.end()) act(*task->second);
    }
  };
  for_each(actions.stop, [](Task& task) {
    const LogScope about(TaskLogFields(task.id()));
    spdlog::info("task {}: asked to stop", task.id());
    task.Send(StopRequest{});
  });
  for_each(actions.end, [&](Task& task) { task.End(end_reason_, options_.end_grace); });
}

void TaskRunner::StartTask(const v1::Assignment& assignment) {
  const LogScope about(TaskLogFields(assignment.task_id()));
  std::vector<std::string> environment;
  if (options_.gpus != nullptr) environment = options_.gpus->Occupy(assignment.slot());
  absl::StatusOr<std::unique_ptr<Task>> task = Task::Start(assignment, options_.task, environment);
  if (!task.ok()) {
    if (options_.gpus != nullptr) options_.gpus->Vacate(assignment.slot());
    spdlog::error("task {}: not started: {}", assignment.task_id(), task.status().ToString());
    ReportNotStarted(assignment, std::string(task.status().message()));
    return;
  }
  const pid_t pid = (*task)->pid();
  spdlog::info("task {}: started in slot {}, pid {}", assignment.task_id(), assignment.slot(), pid);
  tasks_[assignment.task_id()] = *std::move(task);
  Report(assignment.task_id(),
         [&](v1::WorkerEvent& event) { event.mutable_started()->set_pid(pid); });
}

void TaskRunner::PollDescriptors() {
  std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
  std::vector<Task*> tasks;
  int timeout = tasks_.empty() && !table_.HeldUp() ? -1 : kTickMillis;
  for (auto& [id, task] : tasks_) {
    tasks.push_back(task.get());
    const short output = task->HasOutput() ? POLLOUT : 0;
    fds.push_back({task->channel_fd(), static_cast<short>(POLLIN | output), 0});
    fds.push_back({task->log_fd(), POLLIN, 0});
    if (task->channel_fd() < 0) timeout = kTickAtEndMillis;
  }
  if (::poll(fds.data(), fds.size(), timeout) <= 0) return;
  if (fds[0].revents != 0) {
    uint64_t count;
    [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof(count));
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    Task& task = *tasks[i];
    const short channel = fds[1 + 2 * i].revents;
    if ((channel & POLLOUT) != 0) task.WriteChannel();
    if ((channel & (POLLIN | POLLHUP | POLLERR)) != 0) {
      task.ReadChannel(
          [&](TrainerMessage message) { Receive(task.assignment(), std::move(message)); });
    }
    if (fds[2 + 2 * i].revents != 0) task.ReadLog();
  }
}

void TaskRunner::Publish() {
  std::vector<v1::RunningTask> running;
  for (const auto& [id, task] : tasks_) {
    running.emplace_back().set_task_id(id);
    running.back().set_pid(task->pid());
  }
  for (const std::string& id : table_.Unacknowledged()) running.emplace_back().set_task_id(id);
  const absl::MutexLock lock(&mutex_);
  running_ = std::move(running);
  idle_ = tasks_.empty() && posted_.empty();
}

void TaskRunner::Receive(const v1::Assignment& assignment, TrainerMessage message) {
  if (auto* event = std::get_if<v1::TrainerEvent>(&message)) {
    Report(assignment.task_id(),
           [&](v1::WorkerEvent& out) { *out.mutable_trainer() = std::move(*event); });
  } else if (const auto* set = std::get_if<RendezvousSet>(&message)) {
    callbacks_.rendezvous_set(assignment, *set);
  } else {
    callbacks_.rendezvous_wait(assignment, std::get<RendezvousWait>(message));
  }
}

void TaskRunner::ReportNotStarted(const v1::Assignment& assignment, const std::string& reason) {
  const std::string line = absl::StrCat("the worker could not start it: ", reason);
  if (LogOutbox* outbox = options_.task.outbox; outbox != nullptr && assignment.has_train()) {
    outbox->Begin(assignment.task_id());
    outbox->Append(assignment.task_id(), {line}, absl::Now());
    outbox->End(assignment.task_id());
  }
  v1::TaskExited exited;
  exited.set_code(kCouldNotStart);
  exited.add_last_lines(line);
  ReportExit(assignment.task_id(), std::move(exited));
}

void TaskRunner::ReportExit(const std::string& task_id, v1::TaskExited exited) {
  const LogScope about(TaskLogFields(task_id));
  spdlog::info("task {}: ended with {} {}", task_id, exited.has_signal() ? "signal" : "code",
               exited.has_signal() ? exited.signal() : exited.code());
  const int64_t sequence =
      Report(task_id, [&](v1::WorkerEvent& event) { *event.mutable_exited() = std::move(exited); });
  table_.Ended(task_id, sequence);
}

int64_t TaskRunner::Report(const std::string& task_id,
                           const std::function<void(v1::WorkerEvent&)>& fill) {
  v1::WorkerEvent event;
  event.set_task_id(task_id);
  *event.mutable_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(absl::Now()));
  fill(event);
  return callbacks_.event(std::move(event));
}

}  // namespace wavefield
