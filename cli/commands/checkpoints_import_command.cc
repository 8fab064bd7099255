#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/views/format.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/export/importer.h"
#include "nlohmann/json.hpp"

namespace wavefield {
namespace {

struct Flags {
  std::string folder;
  std::string output;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags) {
  StagedFolder output(flags.output);
  WF_RETURN_IF_ERROR(output.Open());
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest, ImportCheckpoint(flags.folder, output));
  if (flags.json) {
    const nlohmann::json json = {{"output", flags.output},
                                 {"job", manifest.job},
                                 {"step", manifest.step},
                                 {"files", manifest.files.size()}};
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("%s is a checkpoint of step %s now, in %s\n", flags.folder.c_str(),
                FormatInteger(static_cast<int64_t>(manifest.step)).c_str(), flags.output.c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsImportCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("import", "Write an exported folder as a checkpoint's directory");
  command->add_option("FOLDER", flags->folder, "what `checkpoints export` wrote")->required();
  command->add_option("--output", flags->output, "the checkpoint's directory; new, or empty")
      ->required();
  command->add_flag("--json", flags->json, "print what was imported as JSON");
  context.OnCommand(command, [flags] { return Run(*flags); });
}

}  // namespace wavefield
