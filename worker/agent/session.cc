#include "worker/agent/session.h"

#include <google/protobuf/util/time_util.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

using google::protobuf::util::TimeUtil;

constexpr absl::Duration kRegisterTimeout = absl::Seconds(10);
constexpr uint64_t kMaxProbeBytes = 4096;

}  // namespace

Session::Session(SessionOptions options, CoordinatorLink& link, TaskRunner& runner, Spool& spool)
    : options_(std::move(options)),
      link_(link),
      runner_(runner),
      spool_(spool),
      host_(options_.state_directory),
      thread_([this] { Loop(); }) {}

Session::~Session() { thread_.join(); }

void Session::Loop() {
  OutcomeLog registration(absl::StrCat("registration with ", link_.address()));
  OutcomeLog heartbeat(absl::StrCat("heartbeat to ", link_.address()));
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(2));
  absl::Duration interval;
  do {
    EndOrphans();
    if (!link_.registered()) {
      const absl::Status status = Register(interval);
      registration.Note(status);
      if (!status.ok()) {
        link_.Pause(backoff.Next());
        continue;
      }
      backoff.Reset();
      orphaned_ = false;
      link_.SetRegistered(true);
    }
    link_.SleepWhileRegistered(interval);
    if (!link_.registered()) continue;
    const absl::Status status = Heartbeat(interval);
    heartbeat.Note(status);
    if (status.ok()) orphaned_ = false;
    if (absl::IsNotFound(status)) link_.SetRegistered(false);
  } while (link_.Sleep(absl::ZeroDuration()));
}

absl::Status Session::Register(absl::Duration& heartbeat_interval) {
  v1::RegisterWorkerRequest request = options_.identity;
  const std::filesystem::path probe = options_.storage_root / "probe";
  absl::StatusOr<std::string> read = ReadFile(probe, kMaxProbeBytes);
  if (!read.ok()) {
    return absl::Status(read.status().code(),
                        absl::StrCat(read.status().message(),
                                     "; --storage-root must be the coordinator's storage"));
  }
  request.set_storage_probe(*std::move(read));
  for (v1::RunningTask& task : runner_.Running()) *request.add_running() = std::move(task);
  AddGpus(*request.mutable_gpus());
  v1::RegisterWorkerResponse response;
  WF_RETURN_IF_ERROR(link_.Call(kRegisterTimeout, [&](grpc::ClientContext& context) {
    return link_.stub().RegisterWorker(&context, request, &response);
  }));
  if (response.acknowledged_sequence() < spool_.acknowledged()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator knows events up to ", response.acknowledged_sequence(),
                     ", but had acknowledged ", spool_.acknowledged(),
                     ": it has lost state; restart this worker"));
  }
  heartbeat_interval =
      std::clamp(absl::Nanoseconds(TimeUtil::DurationToNanoseconds(response.heartbeat_interval())),
                 absl::Milliseconds(10), absl::Minutes(1));
  spool_.Acknowledge(response.acknowledged_sequence());
  runner_.Acknowledge(response.acknowledged_sequence());
  spdlog::info("registered with {} as {}, {} tasks running", link_.address(), response.name(),
               request.running_size());
  if (!std::exchange(ready_, true) && options_.on_ready) {
    options_.on_ready(options_.identity.worker_id());
  }
  return absl::OkStatus();
}

absl::Status Session::Heartbeat(absl::Duration timeout) {
  v1::HeartbeatRequest request;
  request.set_name("workers/" + options_.identity.worker_id());
  request.set_incarnation(options_.identity.incarnation());
  *request.mutable_worker_time() = TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(absl::Now()));
  request.set_draining(draining_);
  AddGpus(*request.mutable_gpus());
  *request.mutable_host() = host_.Read();
  request.mutable_host()->set_spool_bytes(spool_.bytes());
  request.set_spool_depth(spool_.last_sequence() - spool_.acknowledged());
  return link_.Call(std::max(timeout, absl::Seconds(1)), [&](grpc::ClientContext& context) {
    v1::HeartbeatResponse response;
    return link_.stub().Heartbeat(&context, request, &response);
  });
}

void Session::AddGpus(google::protobuf::RepeatedPtrField<v1::Gpu>& gpus) {
  if (options_.gpus == nullptr) return;
  for (v1::Gpu& gpu : options_.gpus->Report()) *gpus.Add() = std::move(gpu);
}

void Session::Drain() {
  draining_ = true;
  if (!link_.registered()) return;
  if (const absl::Status told = Heartbeat(absl::Seconds(1)); !told.ok()) {
    spdlog::warn("the coordinator does not know that this worker ends: {}", told.ToString());
  }
}

void Session::EndOrphans() {
  if (orphaned_ || link_.SinceHeard() < options_.orphan_timeout) return;
  orphaned_ = true;
  runner_.EndAll(absl::StrCat("the coordinator ", link_.address(), " was away for more than ",
                              absl::FormatDuration(options_.orphan_timeout)));
}

}  // namespace wavefield
