#include "cli/checkpoint_selection.h"

#include "cli/resource_names.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {

void AddCheckpointFilterFlag(CLI::App& command, std::string& filter) {
  command.add_option("--filter", filter,
                     "only checkpoints that fulfil this, e.g. 'step>=1000 AND pinned=false'; by "
                     "job, step, attempt, bytes, loss, evaluation_loss, total_tokens, create_time, "
                     "pinned, damaged, note");
}

absl::StatusOr<v1::Checkpoint> DeleteCheckpoint(const Session& session, const std::string& name,
                                                bool validate_only) {
  v1::DeleteCheckpointRequest request;
  request.set_name(name);
  request.set_validate_only(validate_only);
  if (!validate_only) request.set_request_id(NewRequestId());
  return session.Call(&v1::CheckpointService::Stub::DeleteCheckpoint, request);
}

absl::Status RemoveAsShown(const Session& session,
                           google::protobuf::RepeatedPtrField<v1::CheckpointDecision>& decisions) {
  absl::Status failure;
  for (v1::CheckpointDecision& decision : decisions) {
    if (!decision.removed()) continue;
    absl::Status status = failure;
    if (failure.ok()) {
      status = DeleteCheckpoint(session, decision.checkpoint().name(), false).status();
    }
    if (status.ok()) continue;
    decision.set_removed(false);
    decision.set_reason(std::string(status.message()));
    if (!absl::IsFailedPrecondition(status) && !absl::IsNotFound(status)) failure = status;
  }
  return failure;
}

absl::StatusOr<v1::Checkpoint> FindCheckpoint(const Session& session, const std::string& text) {
  v1::GetCheckpointRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseCheckpointName(text));
  return session.Call(&v1::CheckpointService::Stub::GetCheckpoint, request);
}

absl::StatusOr<std::string> ParseCheckpointParent(const std::string& text) {
  if (text.empty()) return std::string("jobs/-");
  return ParseJobName(text);
}

}  // namespace wavefield
