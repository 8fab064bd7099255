#include "worker/trainer/worker_channel.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "spdlog/spdlog.h"

namespace wavefield {
namespace {

constexpr size_t kMaxLine = 4 << 20;

const absl::Duration process_start = Clock::Real().Monotonic();

}  // namespace

WorkerChannel::WorkerChannel(FileDescriptor socket)
    : socket_(std::move(socket)), reader_([this] { ReadLoop(); }) {}

WorkerChannel::~WorkerChannel() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  reader_.join();
}

void WorkerChannel::SendEvent(nlohmann::json event) {
  const absl::MutexLock lock(&write_mutex_);
  event["uptime_seconds"] = absl::ToDoubleSeconds(Clock::Real().Monotonic() - process_start);
  SendLocked({{"event", std::move(event)}});
}

void WorkerChannel::Send(const nlohmann::json& message) {
  const absl::MutexLock lock(&write_mutex_);
  SendLocked(message);
}

void WorkerChannel::SendLocked(const nlohmann::json& message) {
  const std::string line =
      message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t put = ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return;  // the worker is gone: ReadLoop notices
    sent += static_cast<size_t>(put);
  }
}

absl::Status WorkerChannel::Set(const std::string& key, const std::string& value) {
  return Call("rendezvous_set", {{"key", key}, {"value", absl::Base64Escape(value)}},
              absl::Minutes(2))
      .status();
}

absl::StatusOr<std::string> WorkerChannel::Wait(const std::string& key, absl::Duration timeout) {
  return Call("rendezvous_wait",
              {{"key", key}, {"timeout_seconds", absl::ToDoubleSeconds(timeout)}}, timeout);
}

absl::StatusOr<std::string> WorkerChannel::Call(const std::string& kind, nlohmann::json request,
                                                absl::Duration timeout) {
  int64_t id = 0;
  {
    const absl::MutexLock lock(&mutex_);
    id = next_id_++;
  }
  const std::string key = request.at("key");
  request["id"] = id;
  Send({{kind, std::move(request)}});

  const auto answered = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return aborted_ || replies_.contains(id);
  };
  const absl::MutexLock lock(&mutex_);
  // The worker bounds the wait; a little more time lets its answer arrive.
  mutex_.AwaitWithTimeout(absl::Condition(&answered), timeout + absl::Seconds(2));
  if (aborted_) return absl::AbortedError(abort_reason_);
  auto reply = replies_.extract(id);
  if (reply.empty()) {
    return absl::DeadlineExceededError(
        fmt::format("rendezvous key '{}': nothing within {}", key, absl::FormatDuration(timeout)));
  }
  if (const std::string error = reply.mapped().value("error", ""); !error.empty()) {
    return absl::DeadlineExceededError(fmt::format("rendezvous key '{}': {}", key, error));
  }
  std::string value;
  if (!absl::Base64Unescape(reply.mapped().value("value", ""), &value)) {
    return absl::InternalError(fmt::format("rendezvous key '{}': the value is not base64", key));
  }
  return value;
}

void WorkerChannel::OnAbort(std::function<void(std::string)> callback) {
  std::string reason;
  {
    const absl::MutexLock lock(&mutex_);
    if (!aborted_) {
      on_abort_ = std::move(callback);
      return;
    }
    reason = abort_reason_;
  }
  callback(reason);
}

bool WorkerChannel::WaitForAbort(absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&aborted_), timeout);
}

void WorkerChannel::Abort(const std::string& reason) {
  std::function<void(std::string)> callback;
  {
    const absl::MutexLock lock(&mutex_);
    if (std::exchange(aborted_, true)) return;
    abort_reason_ = reason;
    callback = std::exchange(on_abort_, nullptr);
  }
  if (callback) callback(reason);
}

void WorkerChannel::Handle(const nlohmann::json& message) {
  if (message.contains("stop")) {
    stop_requested_ = true;
  } else if (message.contains("abort")) {
    Abort(message.at("abort").value("reason", "the attempt is over"));
  } else if (message.contains("rendezvous_reply")) {
    const auto& reply = message.at("rendezvous_reply");
    const absl::MutexLock lock(&mutex_);
    replies_.emplace(reply.at("id").get<int64_t>(), reply);
  } else {
    spdlog::warn("message of an unknown kind from the worker ignored");
  }
}

void WorkerChannel::ReadLoop() {
  std::string pending;
  char buffer[1 << 14];
  while (true) {
    const ssize_t got = ::read(socket_.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    pending.append(buffer, static_cast<size_t>(got));
    size_t start = 0;
    for (size_t end; (end = pending.find('\n', start)) != std::string::npos; start = end + 1) {
      try {
        Handle(nlohmann::json::parse(pending.substr(start, end - start)));
      } catch (const nlohmann::json::exception& error) {
        spdlog::warn("malformed message from the worker ignored: {}", error.what());
      }
    }
    pending.erase(0, start);
    if (pending.size() > kMaxLine) break;
  }
  Abort("the worker is gone");
}

}  // namespace wavefield
