// Workers that people take out of service and back: WorkerService.CordonWorker and its like.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "coordinator/rpc/requests.h"
#include "coordinator/rpc/worker_requests.h"
#include "coordinator/rpc/worker_service.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxNoteBytes = 200;

absl::Status CheckNote(const std::string& note) {
  if (note.size() > kMaxNoteBytes) {
    return InvalidField(
        "note", fmt::format("has {} bytes; at most {} are allowed", note.size(), kMaxNoteBytes));
  }
  const bool printable = std::none_of(note.begin(), note.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
  });
  if (printable) return absl::OkStatus();
  return InvalidField("note", "has control characters; write one line of text");
}

}  // namespace

absl::Status WorkerService::ChangeWorker(const char* method,
                                         const google::protobuf::Message& request,
                                         const std::string& name, const std::string& request_id,
                                         const std::function<void(v1::Worker&)>& change,
                                         v1::Worker& response) {
  WF_ASSIGN_OR_RETURN(const std::string id, WorkerIdOf(name));
  bool changed = false;
  WorkerRecord record;
  std::lock_guard lock(registration_);
  const auto work = [&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const auto known, transaction.FindWorker(id));
    if (!known) {
      return absl::NotFoundError(
          fmt::format("there is no worker 'workers/{}': see wavefield workers", id));
    }
    record = *known;
    change(*record.mutable_worker());
    response = context_.cluster.FindWorker(id).value_or(record.worker());
    change(response);
    if (record.left()) response.set_state(v1::WORKER_STATE_LOST);
    changed = true;
    return record.left() && !record.worker().cordoned() ? transaction.RemoveWorker(id)
                                                        : transaction.PutWorker(id, record);
  };
  WF_RETURN_IF_ERROR(
      WriteOnce(context_.store, context_.clock, method, request, request_id, response, work));
  if (!changed) return absl::OkStatus();
  context_.cluster.SetCordon(record.worker());
  spdlog::info("workers/{} is {}{}", id,
               record.worker().draining()   ? "drained"
               : record.worker().cordoned() ? "cordoned"
                                            : "in service",
               record.worker().cordon_note().empty() ? "" : ": " + record.worker().cordon_note());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* WorkerService::CordonWorker(grpc::CallbackServerContext* call,
                                                      const v1::CordonWorkerRequest* request,
                                                      v1::Worker* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_RETURN_IF_ERROR(CheckNote(request->note()));
    const auto cordon = [&](v1::Worker& worker) {
      worker.set_cordoned(true);
      worker.set_cordon_note(request->note());
    };
    return ChangeWorker("CordonWorker", *request, request->name(), request->request_id(), cordon,
                        *response);
  });
}

grpc::ServerUnaryReactor* WorkerService::UncordonWorker(grpc::CallbackServerContext* call,
                                                        const v1::UncordonWorkerRequest* request,
                                                        v1::Worker* response) {
  return RunUnary(call, context_.calls, [=, this] {
    const auto uncordon = [](v1::Worker& worker) {
      worker.set_cordoned(false);
      worker.set_draining(false);
      worker.clear_cordon_note();
    };
    return ChangeWorker("UncordonWorker", *request, request->name(), request->request_id(),
                        uncordon, *response);
  });
}

grpc::ServerUnaryReactor* WorkerService::DrainWorker(grpc::CallbackServerContext* call,
                                                     const v1::DrainWorkerRequest* request,
                                                     v1::Worker* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_RETURN_IF_ERROR(CheckNote(request->note()));
    const auto drain = [&](v1::Worker& worker) {
      worker.set_cordoned(true);
      worker.set_draining(true);
      worker.set_cordon_note(request->note());
    };
    return ChangeWorker("DrainWorker", *request, request->name(), request->request_id(), drain,
                        *response);
  });
}

}  // namespace wavefield::coordinator
