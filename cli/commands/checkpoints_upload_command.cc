#include <cstdio>
#include <memory>
#include <string>

#include "cli/checkpoint_upload.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/progress_bar.h"
#include "cli/views/terminal.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

struct Flags {
  std::string directory;
  std::string job;
  std::string note;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string job, ParseJobName(flags.job));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  SetInterruptNotice("the same command continues the upload, for a day");
  ProgressBar bar(stderr);
  const auto show = [&](const char* stage, int64_t done, int64_t total) {
    bar.DrawBytes(done, total, std::string(stage) + " ");
  };
  const UploadCheckpointOptions options{
      .directory = flags.directory, .job_id = ResourceId(job), .note = flags.note};
  WF_ASSIGN_OR_RETURN(const UploadedCheckpoint uploaded, UploadCheckpoint(session, options, show));
  bar.Clear();
  if (flags.json) {
    std::printf("%s", ToJson(uploaded.checkpoint, true).c_str());
  } else {
    std::printf("%s\n", OnOneLine(ShortCheckpointName(uploaded.checkpoint.name())).c_str());
    std::fprintf(stderr, "%d files, %s sent.\n", uploaded.checkpoint.files_size(),
                 FormatBytes(static_cast<double>(uploaded.sent_bytes)).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsUploadCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "upload", "Bring a checkpoint from a directory into the catalogue, below a job of its own");
  command->add_option("DIR", flags->directory, "as 'checkpoints download' writes it")->required();
  command->add_option("--job", flags->job, "the name of the job that is to hold it")->required();
  command->add_option("--note", flags->note, "where it comes from, for others to read");
  command->add_flag("--json", flags->json, "print the Checkpoint as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
