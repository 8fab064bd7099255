#include "coordinator/rpc/worker_service.h"

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>
#include <spdlog/spdlog.h>

#include <set>

#include "coordinator/jobs/event_applier.h"
#include "coordinator/jobs/lifecycle.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/requests.h"
#include "coordinator/rpc/worker_requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxEvents = 1000;
constexpr int64_t kMaxListedWorkers = 1000;

// Tasks of other incarnations are dead; those of this one go on if the worker still has them, or
// was not yet told of them.
absl::Status SettleTasks(Transaction& transaction, const std::string& worker,
                         const std::string& incarnation, const std::set<std::string>& running,
                         absl::Time now) {
  WF_ASSIGN_OR_RETURN(auto jobs, transaction.LiveJobs());
  for (JobRecord& record : jobs) {
    bool changed = OnWorkerGone(record, worker, incarnation, "the worker was started anew", now);
    std::vector<std::string> vanished;
    for (const TaskRecord& task : record.tasks()) {
      if (task.worker() != worker || task.ended() || running.contains(task.task_id())) continue;
      const bool wanted = HasAttempt(record.job().state()) && task.epoch() == record.job().epoch();
      if (task.started() || !wanted) vanished.push_back(task.task_id());
    }
    for (const std::string& task_id : vanished) OnTaskVanished(record, task_id, now);
    if (changed || !vanished.empty()) WF_RETURN_IF_ERROR(transaction.PutJob(record));
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* WorkerService::ListWorkers(grpc::CallbackServerContext* call,
                                                     const v1::ListWorkersRequest* request,
                                                     v1::ListWorkersResponse* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(const int size, PageSize(request->page_size(), 100, kMaxListedWorkers));
    WF_ASSIGN_OR_RETURN(const std::string after, ParsePageToken("workers", request->page_token()));
    for (const v1::Worker& worker : context_.cluster.Workers()) {
      if (worker.name() <= after) continue;
      if (response->workers_size() == size) {
        const std::string last = response->workers(size - 1).name();
        response->set_next_page_token(MakePageToken("workers", last));
        break;
      }
      *response->add_workers() = worker;
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* WorkerService::RegisterWorker(grpc::CallbackServerContext* call,
                                                        const v1::RegisterWorkerRequest* request,
                                                        v1::RegisterWorkerResponse* response) {
  return RunUnary(call, context_.reports, [=, this] { return Register(*request, *response); });
}

absl::Status WorkerService::Register(const v1::RegisterWorkerRequest& request,
                                     v1::RegisterWorkerResponse& response) {
  WF_RETURN_IF_ERROR(CheckRegistration(request, context_.storage_probe));
  const std::string& id = request.worker_id();
  WorkerRecord record;
  v1::Worker& worker = *record.mutable_worker();
  worker.set_name("workers/" + id);
  worker.set_state(v1::WORKER_STATE_READY);
  worker.set_incarnation(request.incarnation());
  worker.set_address(request.address());
  worker.set_device(request.device());
  worker.set_slots(request.slots());
  worker.set_threads_per_slot(request.threads_per_slot());
  worker.set_memory_per_slot(request.memory_per_slot());
  worker.set_matmul_rate(request.matmul_rate());
  worker.set_version(request.version());
  *worker.mutable_gpus() = request.gpus();
  *worker.mutable_register_time() = ToTimestamp(context_.clock.Now());
  std::set<std::string> running;
  for (const v1::RunningTask& task : request.running()) running.insert(task.task_id());

  // Settling puts jobs back into the queue: none may start on the incarnation that was before.
  context_.leases.Revoke(id);
  int64_t acknowledged = 0;
  std::unique_lock lock(registration_);
  WF_RETURN_IF_ERROR(context_.store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const auto known, transaction.FindWorker(id));
    if (known) {
      worker.set_cordoned(known->worker().cordoned());
      worker.set_draining(known->worker().draining());
      worker.set_cordon_note(known->worker().cordon_note());
    }
    WF_RETURN_IF_ERROR(transaction.PutWorker(id, record));
    WF_ASSIGN_OR_RETURN(acknowledged, transaction.AcknowledgedSequence(id, request.incarnation()));
    return SettleTasks(transaction, id, request.incarnation(), running, context_.clock.Now());
  }));
  context_.cluster.EndInferenceOn(id, request.incarnation(), &running,
                                  fmt::format("workers/{} registered again without it", id));
  context_.leases.Grant(id, request.incarnation());
  context_.cluster.PutWorker(worker);
  lock.unlock();
  spdlog::info("workers/{} registered: {} {} slots and {} GPUs at {}, {} of its tasks run", id,
               request.slots(), request.device(), request.gpus_size(), request.address(),
               running.size());
  response.set_name(worker.name());
  *response.mutable_heartbeat_interval() = ToProtoDuration(context_.heartbeat_interval);
  *response.mutable_lease() = ToProtoDuration(context_.leases.lease());
  response.set_acknowledged_sequence(acknowledged);
  return absl::OkStatus();
}

// Answered on gRPC's own thread: it takes a short lock of its own, and nothing can keep it waiting.
grpc::ServerUnaryReactor* WorkerService::Heartbeat(grpc::CallbackServerContext* call,
                                                   const v1::HeartbeatRequest* request,
                                                   v1::HeartbeatResponse*) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const auto renew = [&]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(const std::string id, WorkerIdOf(request->name()));
    WF_RETURN_IF_ERROR(CheckGpus(request->gpus()));
    return context_.leases.Renew(id, *request, context_.clock.Now());
  };
  reactor->Finish(ToGrpcStatus(renew()));
  return reactor;
}

grpc::ServerWriteReactor<v1::AssignmentList>* WorkerService::WatchAssignments(
    grpc::CallbackServerContext*, const v1::WatchAssignmentsRequest* request) {
  using Stream = StreamWriter<v1::AssignmentList>;
  return BlockingWriteReactor<v1::AssignmentList>::Run(
      context_.streams, [this, request = *request](Stream& stream) -> absl::Status {
        WF_ASSIGN_OR_RETURN(const std::string id, WorkerIdOf(request.name()));
        const OpenWatch open(context_.metrics);
        const auto signal = context_.cluster.signals().Get("workers/" + id);
        v1::AssignmentList sent;
        while (!stream.cancelled()) {
          const uint64_t seen = signal->version();
          if (!context_.leases.IsLive(id, request.incarnation())) {
            return absl::NotFoundError(fmt::format(
                "workers/{} is not registered with this incarnation: register again", id));
          }
          v1::AssignmentList list = context_.cluster.AssignmentsFor(id, request.incarnation());
          list.set_revision(sent.revision());
          if (sent.revision() == 0 ||
              !google::protobuf::util::MessageDifferencer::Equals(list, sent)) {
            list.set_revision(sent.revision() + 1);
            if (!stream.Write(list)) break;
            sent = std::move(list);
          }
          signal->WaitPast(seen, kStreamPoll);
        }
        return absl::CancelledError("the watch was ended");
      });
}

grpc::ServerUnaryReactor* WorkerService::ReportEvents(grpc::CallbackServerContext* call,
                                                      const v1::ReportEventsRequest* request,
                                                      v1::ReportEventsResponse* response) {
  return RunUnary(call, context_.reports, [=, this] { return Report(*request, *response); });
}

absl::Status WorkerService::Report(const v1::ReportEventsRequest& request,
                                   v1::ReportEventsResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, WorkerIdOf(request.name()));
  if (request.events_size() > kMaxEvents) {
    return InvalidField(
        "events", fmt::format("has {}; at most {} are allowed", request.events_size(), kMaxEvents));
  }
  if (!context_.leases.IsLive(id, request.incarnation())) {
    return absl::NotFoundError(
        fmt::format("workers/{} is not registered with this incarnation: register again", id));
  }
  EventOutcome outcome;
  WF_RETURN_IF_ERROR(context_.store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(outcome,
                        ApplyEvents(transaction, id, request.incarnation(), request,
                                    context_.cluster.checkpoint_reads(), context_.clock.Now()));
    return absl::OkStatus();
  }));
  for (const v1::WorkerEvent& event : outcome.inference) context_.cluster.InferenceEvent(id, event);
  context_.series.EventsCommitted(outcome.training);
  response.set_acknowledged_sequence(outcome.acknowledged_sequence);
  return absl::OkStatus();
}

absl::Status WorkerService::CheckEpoch(const std::string& job, int64_t epoch) const {
  const auto record = context_.cluster.FindLiveJob(job);
  if (record != nullptr && HasAttempt(record->job().state()) && record->job().epoch() == epoch) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format("epoch {} of jobs/{} is over", epoch, job));
}

grpc::ServerUnaryReactor* WorkerService::SetRendezvous(grpc::CallbackServerContext* call,
                                                       const v1::SetRendezvousRequest* request,
                                                       v1::SetRendezvousResponse*) {
  return RunUnary(call, context_.reports, [=, this] { return SetKey(*request); });
}

absl::Status WorkerService::SetKey(const v1::SetRendezvousRequest& request) {
  WF_ASSIGN_OR_RETURN(const std::string job, IdOf("jobs", request.job()));
  WF_RETURN_IF_ERROR(CheckRendezvousKey(request.key()));
  WF_RETURN_IF_ERROR(CheckRendezvousValue(request.value()));
  WF_RETURN_IF_ERROR(CheckEpoch(job, request.epoch()));
  WF_RETURN_IF_ERROR(context_.store.Write([&](Transaction& transaction) -> absl::Status {
    const auto existing = transaction.GetRendezvous(job, request.epoch(), request.key());
    if (existing.ok()) {
      return *existing == request.value()
                 ? absl::OkStatus()
                 : absl::AlreadyExistsError(fmt::format(
                       "the rendezvous key '{}' has another value already", request.key()));
    }
    if (!absl::IsNotFound(existing.status())) return existing.status();
    return transaction.PutRendezvous(job, request.epoch(), request.key(), request.value());
  }));
  context_.cluster.signals().Notify("jobs/" + job);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* WorkerService::WaitRendezvous(grpc::CallbackServerContext* call,
                                                        const v1::WaitRendezvousRequest* request,
                                                        v1::WaitRendezvousResponse* response) {
  return RunUnary(call, context_.streams,
                  [=, this] { return WaitForKey(*request, *call, *response->mutable_value()); });
}

absl::Status WorkerService::WaitForKey(const v1::WaitRendezvousRequest& request,
                                       const grpc::CallbackServerContext& call,
                                       std::string& value) {
  WF_ASSIGN_OR_RETURN(const std::string job, IdOf("jobs", request.job()));
  WF_RETURN_IF_ERROR(CheckRendezvousKey(request.key()));
  const auto signal = context_.cluster.signals().Get("jobs/" + job);
  bool waited = false;
  while (!call.IsCancelled() && std::chrono::system_clock::now() < call.deadline()) {
    const uint64_t seen = signal->version();
    if (const absl::Status epoch = CheckEpoch(job, request.epoch()); !epoch.ok()) {
      return waited ? absl::AbortedError(std::string(epoch.message())) : epoch;
    }
    absl::StatusOr<std::string> found;
    WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) {
      found = reader.GetRendezvous(job, request.epoch(), request.key());
      return absl::OkStatus();
    }));
    if (found.ok()) {
      value = *std::move(found);
      return absl::OkStatus();
    }
    if (!absl::IsNotFound(found.status())) return found.status();
    signal->WaitPast(seen, kStreamPoll);
    waited = true;
  }
  return absl::DeadlineExceededError(
      fmt::format("nobody set the rendezvous key '{}' of jobs/{} in time", request.key(), job));
}

}  // namespace wavefield::coordinator
