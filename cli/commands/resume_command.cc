#include "cli/commands.h"
#include "cli/job_verbs.h"

namespace wavefield {

void AddResumeCommand(CLI::App& parent, CommandContext& context) {
  AddJobVerbCommand(parent, context, "resume",
                    "Queue jobs again that are paused, or ended before their budget was used up",
                    [](const Session& session, const std::string& name) {
                      return CallForJob(session, &v1::JobService::Stub::ResumeJob, name);
                    });
}

}  // namespace wavefield
