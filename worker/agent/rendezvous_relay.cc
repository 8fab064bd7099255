#include "worker/agent/rendezvous_relay.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"

namespace wavefield {
namespace {

constexpr size_t kMaxKeyBytes = 256;
constexpr size_t kMaxValueBytes = 64 << 10;
// Under way at once, of one task.
constexpr int kMaxRequestsOfTask = 64;
constexpr absl::Duration kSetTimeout = absl::Seconds(60);

absl::Status CheckSize(const std::string& what, size_t size, size_t limit) {
  if (size <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " of ", size, " bytes; at most ", limit, " are allowed"));
}

}  // namespace

RendezvousRelay::RendezvousRelay(CoordinatorLink& link, Reply reply)
    : link_(link), reply_(std::move(reply)) {}

RendezvousRelay::~RendezvousRelay() {
  const absl::MutexLock lock(&mutex_);
  const auto none = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return requests_.empty(); };
  mutex_.Await(absl::Condition(&none));
}

void RendezvousRelay::Set(const v1::Assignment& assignment, const RendezvousSet& request) {
  if (absl::Status status = CheckSize("a value", request.value.size(), kMaxValueBytes);
      !status.ok()) {
    reply_(assignment.task_id(), {request.id, "", std::move(status)});
    return;
  }
  v1::SetRendezvousRequest rpc;
  rpc.set_job(assignment.train().job());
  rpc.set_epoch(assignment.train().epoch());
  rpc.set_key(request.key);
  rpc.set_value(request.value);
  Begin(assignment, {assignment.task_id(), request.id, request.key, kSetTimeout, nullptr},
        [this, rpc](grpc::ClientContext& context, absl::Duration left, std::string&) {
          return link_.Call(context, left, [&](grpc::ClientContext& c) {
            v1::SetRendezvousResponse response;
            return link_.stub().SetRendezvous(&c, rpc, &response);
          });
        });
}

void RendezvousRelay::Wait(const v1::Assignment& assignment, const RendezvousWait& request) {
  v1::WaitRendezvousRequest rpc;
  rpc.set_job(assignment.train().job());
  rpc.set_epoch(assignment.train().epoch());
  rpc.set_key(request.key);
  Begin(assignment, {assignment.task_id(), request.id, request.key, request.timeout, nullptr},
        [this, rpc](grpc::ClientContext& context, absl::Duration left, std::string& value) {
          return link_.Call(context, left, [&](grpc::ClientContext& c) {
            v1::WaitRendezvousResponse response;
            const grpc::Status status = link_.stub().WaitRendezvous(&c, rpc, &response);
            value = std::move(*response.mutable_value());
            return status;
          });
        });
}

void RendezvousRelay::Begin(const v1::Assignment& assignment, Request request, Attempt attempt) {
  absl::Status status = CheckSize("a key", request.key.size(), kMaxKeyBytes);
  if (!assignment.has_train()) {
    status = absl::FailedPreconditionError("only training ranks have a rendezvous");
  }
  int64_t number = 0;
  if (status.ok()) {
    const absl::MutexLock lock(&mutex_);
    const auto under_way = std::count_if(requests_.begin(), requests_.end(), [&](const auto& r) {
      return r.second.task_id == request.task_id;
    });
    if (under_way >= kMaxRequestsOfTask) {
      status = absl::ResourceExhaustedError(
          absl::StrCat(under_way, " rendezvous requests of this rank are under way already"));
    } else {
      number = ++last_number_;
      requests_[number] = request;
    }
  }
  if (!status.ok()) {
    reply_(request.task_id, {request.id, "", std::move(status)});
    return;
  }
  std::thread([this, number, request = std::move(request), attempt = std::move(attempt)] {
    Run(number, request, attempt);
  }).detach();  // the destructor waits for it by requests_
}

void RendezvousRelay::Run(int64_t number, const Request& request, const Attempt& attempt) {
  const absl::Duration deadline = Clock::Real().Monotonic() + request.timeout;
  Backoff backoff(absl::Milliseconds(50), absl::Seconds(1));
  std::string value;
  absl::Status status;
  bool cancelled = false;
  while (true) {
    const std::shared_ptr<grpc::ClientContext> context = NextContext(number);
    cancelled = context == nullptr;
    if (cancelled) break;
    const absl::Duration left = deadline - Clock::Real().Monotonic();
    status = attempt(*context, left, value);
    const absl::Duration pause = backoff.Next();
    // A coordinator that stops cancels what waits on it; a request of ours that was cancelled gets
    // no next context.
    // UNAUTHENTICATED: the token is being changed, and this host does not have the new one yet.
    const bool again =
        absl::IsUnavailable(status) || absl::IsCancelled(status) || absl::IsUnauthenticated(status);
    if (!again || Clock::Real().Monotonic() + pause >= deadline) break;
    if (!link_.Pause(pause)) break;
  }
  if (!cancelled) reply_(request.task_id, {request.id, std::move(value), std::move(status)});
  const absl::MutexLock lock(&mutex_);
  requests_.erase(number);
}

std::shared_ptr<grpc::ClientContext> RendezvousRelay::NextContext(int64_t number) {
  const absl::MutexLock lock(&mutex_);
  Request& request = requests_.at(number);
  if (request.cancelled) return nullptr;
  request.context = std::make_shared<grpc::ClientContext>();
  return request.context;
}

void RendezvousRelay::Cancel(const std::string& task_id) {
  const absl::MutexLock lock(&mutex_);
  for (auto& [number, request] : requests_) {
    if (request.task_id != task_id) continue;
    request.cancelled = true;
    // Calls are blocking ones: nothing of ours runs inside TryCancel().
    if (request.context != nullptr) request.context->TryCancel();
  }
}

}  // namespace wavefield
