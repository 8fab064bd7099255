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
