#include "tests/worker/agent/fake_coordinator.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/check.h"

namespace wavefield {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(2);

std::string Describe(const v1::WorkerEvent& event) {
  if (event.has_started()) return "started";
  if (event.has_exited()) {
    return event.exited().has_signal() ? absl::StrCat("signal ", event.exited().signal())
                                       : absl::StrCat("exit ", event.exited().code());
  }
  const v1::TrainerEvent& trainer = event.trainer();
  switch (trainer.event_case()) {
    case v1::TrainerEvent::kTrainingStarted:
      return "training_started";
    case v1::TrainerEvent::kStep:
      return "step";
    case v1::TrainerEvent::kWarning:
      return "warning " + trainer.warning();
    case v1::TrainerEvent::kFailure:
      return "fatal " + trainer.failure().message();
    case v1::TrainerEvent::kFinished:
      return trainer.finished().stopped() ? "stopped" : "finished";
    default:
      return "other";
  }
}

}  // namespace

void FakeCoordinator::Start() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = false;
  }
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", port_), grpc::InsecureServerCredentials(),
                           &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  WF_CHECK(server_ != nullptr);
}

void FakeCoordinator::Stop() {
  if (server_ == nullptr) return;
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

std::string FakeCoordinator::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeCoordinator::Assign(const std::vector<v1::Assignment>& assignments) {
  const absl::MutexLock lock(&mutex_);
  list_.set_revision(list_.revision() + 1);
  list_.clear_assignments();
  for (const v1::Assignment& assignment : assignments) *list_.add_assignments() = assignment;
}

void FakeCoordinator::ForgetWorkers() {
  const absl::MutexLock lock(&mutex_);
  incarnation_.clear();
}

std::vector<v1::RegisterWorkerRequest> FakeCoordinator::Registrations() const {
  const absl::MutexLock lock(&mutex_);
  return registrations_;
}

int64_t FakeCoordinator::Heartbeats() const {
  const absl::MutexLock lock(&mutex_);
  return heartbeats_;
}

v1::HeartbeatRequest FakeCoordinator::LastHeartbeat() const {
  const absl::MutexLock lock(&mutex_);
  return last_heartbeat_;
}

std::vector<v1::WorkerEvent> FakeCoordinator::Events() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<v1::WorkerEvent> all;
  for (const auto& [incarnation, events] : events_)
    all.insert(all.end(), events.begin(), events.end());
  return all;
}

std::vector<std::string> FakeCoordinator::Story(const std::string& task_id) const {
  std::vector<std::string> story;
  for (const v1::WorkerEvent& event : Events()) {
    if (event.task_id() == task_id) story.push_back(Describe(event));
  }
  return story;
}

std::vector<std::string> FakeCoordinator::Log(const std::string& task_id) const {
  const absl::MutexLock lock(&mutex_);
  const auto log = logs_.find(task_id);
  return log == logs_.end() ? std::vector<std::string>() : log->second.lines;
}

bool FakeCoordinator::LogIsComplete(const std::string& task_id) const {
  const absl::MutexLock lock(&mutex_);
  const auto log = logs_.find(task_id);
  return log != logs_.end() && log->second.complete;
}

int64_t FakeCoordinator::LargestLogReport() const {
  const absl::MutexLock lock(&mutex_);
  return largest_log_report_;
}

bool FakeCoordinator::WaitUntil(const std::function<bool()>& done) const {
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (!done()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(kPoll);
  }
  return true;
}

bool FakeCoordinator::WaitForStory(const std::string& task_id, const std::string& last) const {
  return WaitUntil([&] {
    const std::vector<std::string> story = Story(task_id);
    return !story.empty() && story.back() == last;
  });
}

grpc::Status FakeCoordinator::RegisterWorker(grpc::ServerContext*,
                                             const v1::RegisterWorkerRequest* request,
                                             v1::RegisterWorkerResponse* response) {
  const absl::MutexLock lock(&mutex_);
  registrations_.push_back(*request);
  if (request->storage_probe() != "the probe") {
    return {grpc::StatusCode::FAILED_PRECONDITION, "the worker sees another storage"};
  }
  incarnation_ = request->incarnation();
  response->set_name("workers/" + request->worker_id());
  response->mutable_heartbeat_interval()->set_nanos(20'000'000);
  response->mutable_lease()->set_seconds(10);
  response->set_acknowledged_sequence(static_cast<int64_t>(events_[incarnation_].size()));
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                                        v1::HeartbeatResponse*) {
  const absl::MutexLock lock(&mutex_);
  if (request->incarnation() != incarnation_) return {grpc::StatusCode::NOT_FOUND, "who?"};
  ++heartbeats_;
  last_heartbeat_ = *request;
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::WatchAssignments(grpc::ServerContext* context,
                                               const v1::WatchAssignmentsRequest*,
                                               grpc::ServerWriter<v1::AssignmentList>* writer) {
  int64_t told = -1;
  while (!context->IsCancelled()) {
    v1::AssignmentList list;
    {
      const absl::MutexLock lock(&mutex_);
      if (stopping_) break;
      if (list_.revision() != told) list = list_;
      if (list_.revision() == told) list.set_revision(-1);
    }
    if (list.revision() < 0) {
      absl::SleepFor(kPoll);
      continue;
    }
    if (!writer->Write(list)) break;
    told = list.revision();
  }
  return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
}

grpc::Status FakeCoordinator::ReportEvents(grpc::ServerContext*,
                                           const v1::ReportEventsRequest* request,
                                           v1::ReportEventsResponse* response) {
  const absl::MutexLock lock(&mutex_);
  if (request->events_size() > 1000) return {grpc::StatusCode::INVALID_ARGUMENT, "too many"};
  std::vector<v1::WorkerEvent>& events = events_[request->incarnation()];
  for (const v1::WorkerEvent& event : request->events()) {
    const auto expected = static_cast<int64_t>(events.size()) + 1;
    if (event.sequence() < expected) continue;
    if (event.sequence() > expected) return {grpc::StatusCode::FAILED_PRECONDITION, "a gap"};
    events.push_back(event);
  }
  response->set_acknowledged_sequence(static_cast<int64_t>(events.size()));
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::ReportLogs(grpc::ServerContext*, const v1::ReportLogsRequest* request,
                                         v1::ReportLogsResponse* response) {
  const absl::MutexLock lock(&mutex_);
  largest_log_report_ =
      std::max(largest_log_report_, static_cast<int64_t>(request->ByteSizeLong()));
  for (const auto& chunk : request->chunks()) {
    TaskLog& log = logs_[chunk.task_id()];
    if (chunk.first_line() > log.next) {
      log.lines.push_back(absl::StrCat("(", chunk.first_line() - log.next, " lost)"));
      log.next = chunk.first_line();
    }
    for (int i = 0; i < chunk.lines_size(); ++i) {
      if (chunk.first_line() + i < log.next) continue;
      log.lines.push_back(chunk.lines(i).text());
      ++log.next;
    }
    log.complete |= chunk.complete();
    (*response->mutable_next_line())[chunk.task_id()] = log.next;
  }
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::SetRendezvous(grpc::ServerContext*,
                                            const v1::SetRendezvousRequest* request,
                                            v1::SetRendezvousResponse*) {
  const absl::MutexLock lock(&mutex_);
  rendezvous_[absl::StrCat(request->job(), " ", request->epoch(), " ", request->key())] =
      request->value();
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::WaitRendezvous(grpc::ServerContext* context,
                                             const v1::WaitRendezvousRequest* request,
                                             v1::WaitRendezvousResponse* response) {
  const std::string key = absl::StrCat(request->job(), " ", request->epoch(), " ", request->key());
  while (!context->IsCancelled()) {
    {
      const absl::MutexLock lock(&mutex_);
      if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
      if (const auto entry = rendezvous_.find(key); entry != rendezvous_.end()) {
        response->set_value(entry->second);
        return grpc::Status::OK;
      }
    }
    absl::SleepFor(kPoll);
  }
  return {grpc::StatusCode::DEADLINE_EXCEEDED, "no such key"};
}

}  // namespace wavefield
