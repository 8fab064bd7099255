#include "coordinator/rpc/checkpoint_service.h"

#include <fmt/format.h>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/checkpoints/collection.h"
#include "coordinator/checkpoints/difference.h"
#include "coordinator/checkpoints/lineage.h"
#include "coordinator/checkpoints/listing.h"
#include "coordinator/checkpoints/orphans.h"
#include "coordinator/checkpoints/upload_manifest.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

template <typename Request, typename Response>
absl::Status CheckpointService::Change(
    const char* method, const Request& request, Response& response,
    const std::function<absl::Status(StoreReader&, Transaction*)>& work) {
  if (request.validate_only()) {
    return context_.store.Read([&](StoreReader& reader) { return work(reader, nullptr); });
  }
  return WriteOnce(context_.store, context_.clock, method, request, request.request_id(), response,
                   [&](Transaction& transaction) { return work(transaction, &transaction); });
}

grpc::ServerUnaryReactor* CheckpointService::ListCheckpoints(
    grpc::CallbackServerContext* call, const v1::ListCheckpointsRequest* request,
    v1::ListCheckpointsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return context_.store.Read(
        [&](StoreReader& reader) { return FillCheckpointPage(reader, *request, *response); });
  });
}

grpc::ServerUnaryReactor* CheckpointService::GetCheckpoint(grpc::CallbackServerContext* call,
                                                           const v1::GetCheckpointRequest* request,
                                                           v1::Checkpoint* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(*response, ResolveCheckpoint(reader, request->name()));
      return absl::OkStatus();
    });
  });
}

grpc::ServerUnaryReactor* CheckpointService::UpdateCheckpoint(
    grpc::CallbackServerContext* call, const v1::UpdateCheckpointRequest* request,
    v1::Checkpoint* response) {
  return RunUnary(call, context_.calls, [=, this] { return Update(*request, *response); });
}

absl::Status CheckpointService::Update(const v1::UpdateCheckpointRequest& request,
                                       v1::Checkpoint& response) {
  if (request.update_mask().paths().empty()) {
    return InvalidField("update_mask", "is empty; allowed: pinned, note");
  }
  bool pinned = false, note = false;
  for (const std::string& path : request.update_mask().paths()) {
    pinned |= path == "pinned";
    note |= path == "note";
    if (path != "pinned" && path != "note") {
      return InvalidField("update_mask",
                          fmt::format("has '{}'; allowed: pinned, note", Shortened(path, 80)));
    }
  }
  if (note) WF_RETURN_IF_ERROR(CheckNote("checkpoint.note", request.checkpoint().note()));
  const auto update = [&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(response, ResolveCheckpoint(transaction, request.checkpoint().name()));
    if (pinned) response.set_pinned(request.checkpoint().pinned());
    if (note) response.set_note(request.checkpoint().note());
    return transaction.PutCheckpoint(JobOfCheckpoint(response.name()), response);
  };
  return WriteOnce(context_.store, context_.clock, "UpdateCheckpoint", request,
                   request.request_id(), response, update);
}

grpc::ServerUnaryReactor* CheckpointService::DeleteCheckpoint(
    grpc::CallbackServerContext* call, const v1::DeleteCheckpointRequest* request,
    v1::Checkpoint* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return Change("DeleteCheckpoint", *request, *response,
                  [&](StoreReader& reader, Transaction* transaction) -> absl::Status {
                    WF_ASSIGN_OR_RETURN(*response, DeleteByName(reader, transaction,
                                                                context_.cluster.checkpoint_reads(),
                                                                request->name()));
                    return absl::OkStatus();
                  });
  });
}

grpc::ServerUnaryReactor* CheckpointService::DeleteCheckpoints(
    grpc::CallbackServerContext* call, const v1::DeleteCheckpointsRequest* request,
    v1::DeleteCheckpointsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return Change("DeleteCheckpoints", *request, *response,
                  [&](StoreReader& reader, Transaction* transaction) {
                    return DeleteByFilter(reader, transaction, context_.cluster.checkpoint_reads(),
                                          *request, *response);
                  });
  });
}

grpc::ServerUnaryReactor* CheckpointService::CollectGarbage(
    grpc::CallbackServerContext* call, const v1::CollectGarbageRequest* request,
    v1::CollectGarbageResponse* response) {
  // It walks through directories: not in the lane of short calls.
  return RunUnary(call, context_.streams, [=, this]() -> absl::Status {
    WF_RETURN_IF_ERROR(Change(
        "CollectGarbage", *request, *response, [&](StoreReader& reader, Transaction* transaction) {
          return CollectByRules(reader, transaction, context_.cluster.checkpoint_reads(),
                                request->parent(), *response);
        }));
    const std::string job =
        request->parent() == "jobs/-" ? "" : request->parent().substr(std::string("jobs/").size());
    WF_ASSIGN_OR_RETURN(const auto orphans,
                        FindOrphans(context_.store, context_.storage_root, job));
    response->mutable_orphans()->Assign(orphans.begin(), orphans.end());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CheckpointService::DiffCheckpoints(
    grpc::CallbackServerContext* call, const v1::DiffCheckpointsRequest* request,
    v1::DiffCheckpointsResponse* response) {
  // It reads gigabytes: not in the lane of short calls.
  return RunUnary(call, context_.streams, [=, this]() -> absl::Status {
    CheckpointReads& reads = context_.cluster.checkpoint_reads();
    WF_ASSIGN_OR_RETURN(HeldCheckpoint a,
                        HoldCheckpoint(context_.store, reads, request->a(), "comparisons"));
    WF_ASSIGN_OR_RETURN(HeldCheckpoint b,
                        HoldCheckpoint(context_.store, reads, request->b(), "comparisons"));
    *response->mutable_a() = std::move(a.checkpoint);
    *response->mutable_b() = std::move(b.checkpoint);
    return Compare(
        context_.storage_root, [call] { return call->IsCancelled(); }, *response);
  });
}

grpc::ServerUnaryReactor* CheckpointService::GetLineage(grpc::CallbackServerContext* call,
                                                        const v1::GetLineageRequest* request,
                                                        v1::Lineage* response) {
  return RunUnary(call, context_.calls, [=, this] {
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(*response, LineageOf(reader, request->name()));
      return absl::OkStatus();
    });
  });
}

}  // namespace wavefield::coordinator
