#include "worker/agent/coordinator_link.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "proto/rpc/status.h"

namespace wavefield {

CoordinatorLink::CoordinatorLink(Connection connection)
    : connection_(std::move(connection)),
      stub_(v1::WorkerService::NewStub(connection_.channel())),
      heard_(Clock::Real().Monotonic()) {}

absl::Status CoordinatorLink::Call(absl::Duration timeout,
                                   const std::function<grpc::Status(grpc::ClientContext&)>& call) {
  grpc::ClientContext context;
  return Call(context, timeout, call);
}

absl::Status CoordinatorLink::Call(grpc::ClientContext& context, absl::Duration timeout,
                                   const std::function<grpc::Status(grpc::ClientContext&)>& call) {
  connection_.Prepare(context, timeout);
  {
    const absl::MutexLock lock(&mutex_);
    if (stopped_) return absl::CancelledError("the worker is shutting down");
    calls_.insert(&context);
  }
  const grpc::Status status = call(context);
  const absl::MutexLock lock(&mutex_);
  calls_.erase(&context);
  if (status.ok()) heard_ = Clock::Real().Monotonic();
  return FromGrpcStatus(status);
}

void CoordinatorLink::Heard() {
  const absl::MutexLock lock(&mutex_);
  heard_ = Clock::Real().Monotonic();
}

absl::Duration CoordinatorLink::SinceHeard() const {
  const absl::MutexLock lock(&mutex_);
  return Clock::Real().Monotonic() - heard_;
}

void CoordinatorLink::SetRegistered(bool registered) {
  const absl::MutexLock lock(&mutex_);
  registered_ = registered;
}

bool CoordinatorLink::WaitRegistered() {
  const absl::MutexLock lock(&mutex_);
  const auto done = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return registered_ || stopped_; };
  mutex_.Await(absl::Condition(&done));
  return !stopped_;
}

bool CoordinatorLink::registered() const {
  const absl::MutexLock lock(&mutex_);
  return registered_;
}

bool CoordinatorLink::Sleep(absl::Duration duration) {
  const absl::MutexLock lock(&mutex_);
  return !mutex_.AwaitWithTimeout(absl::Condition(&stopped_), duration);
}

bool CoordinatorLink::Pause(absl::Duration duration) {
  grpc::Channel& channel = *connection_.channel();
  if (channel.GetState(false) == GRPC_CHANNEL_READY) return Sleep(duration);
  const absl::Duration deadline = Clock::Real().Monotonic() + duration;
  while (Sleep(absl::ZeroDuration())) {
    const absl::Duration left = deadline - Clock::Real().Monotonic();
    if (left <= absl::ZeroDuration()) return true;
    const absl::Duration slice = std::min(left, absl::Milliseconds(100));
    if (channel.WaitForConnected(absl::ToChronoTime(absl::Now() + slice))) return true;
  }
  return false;
}

void CoordinatorLink::SleepWhileRegistered(absl::Duration duration) {
  const absl::MutexLock lock(&mutex_);
  const auto done = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !registered_ || stopped_; };
  mutex_.AwaitWithTimeout(absl::Condition(&done), duration);
}

void CoordinatorLink::Stop() {
  const absl::MutexLock lock(&mutex_);
  stopped_ = true;
  // Calls are blocking ones: nothing of ours runs inside TryCancel().
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

Backoff::Backoff(absl::Duration first, absl::Duration longest)
    : first_(first), longest_(longest), seed_(std::random_device()()) {}

absl::Duration Backoff::Next() {
  const double jitter = RandomStream(seed_, "backoff").Uniform(static_cast<uint64_t>(tries_));
  const absl::Duration whole = std::min(longest_, first_ * (1 << std::min(tries_, 16)));
  ++tries_;
  return whole * (1 - 0.2 * jitter);
}

void OutcomeLog::Note(const absl::Status& status) {
  if (absl::IsCancelled(status)) return;
  const std::string message = status.ok() ? "" : std::string(status.message());
  // The text of UNAVAILABLE and DEADLINE_EXCEEDED varies with each try.
  const bool transient = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  if (status.code() == last_ && (transient || message == last_message_)) return;
  if (status.ok()) {
    spdlog::info("{}: works again", what_);
  } else {
    spdlog::warn("{}: {}", what_, status.ToString(absl::StatusToStringMode::kWithNoExtraData));
  }
  last_ = status.code();
  last_message_ = message;
}

}  // namespace wavefield
