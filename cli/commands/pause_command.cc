#include "cli/commands.h"
#include "cli/job_verbs.h"

namespace wavefield {

void AddPauseCommand(CLI::App& parent, CommandContext& context) {
  AddJobVerbCommand(
      parent, context, "pause",
      "Take jobs off their slots until they are resumed; each writes a checkpoint first",
      [](const Session& session, const std::string& name) {
        return CallForJob(session, &v1::JobService::Stub::PauseJob, name);
      });
}

}  // namespace wavefield
