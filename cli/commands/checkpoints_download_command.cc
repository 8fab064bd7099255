#include <cstdio>
#include <memory>

#include "cli/checkpoint_download.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/progress_bar.h"
#include "cli/views/terminal.h"
#include "core/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace wavefield {
namespace {

struct Flags {
  std::string checkpoint;
  std::string output;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string name, ParseCheckpointName(flags.checkpoint));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  SetInterruptNotice("the same command continues the download");
  ProgressBar bar(stderr);
  const auto show = [&](int64_t here, int64_t total) { bar.DrawBytes(here, total); };
  WF_ASSIGN_OR_RETURN(
      const DownloadResult result,
      DownloadCheckpoint(session, name, flags.output, OtherCheckpoint::kRefused, show));
  bar.Clear();
  if (flags.json) {
    const nlohmann::json json = {{"name", result.checkpoint.name()},
                                 {"step", result.checkpoint.step()},
                                 {"output", flags.output},
                                 {"fetched_bytes", result.fetched_bytes}};
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("%s is in %s (%d files, %s fetched)\n",
                ShortCheckpointName(result.checkpoint.name()).c_str(), flags.output.c_str(),
                result.checkpoint.files_size(),
                FormatBytes(static_cast<double>(result.fetched_bytes)).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsDownloadCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("download", "Fetch a checkpoint into a directory");
  command->add_option("CHECKPOINT", flags->checkpoint, "JOB (its newest) or JOB@STEP")->required();
  command->add_option("--output", flags->output, "the directory")->required();
  command->add_flag("--json", flags->json, "print what was fetched as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
