#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "cli/checkpoint_download.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/progress_bar.h"
#include "cli/views/terminal.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/export/exporter.h"
#include "core/checkpoint/export/pytorch_module.h"
#include "core/checkpoint/writer.h"
#include "nlohmann/json.hpp"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string target;
  std::string output;
  bool ema = false;
  bool json = false;
};

// Fetches the checkpoint `name` into the folder's working folder and returns where it is.
absl::StatusOr<fs::path> Download(const std::string& name, const ConnectionFlags& connection,
                                  const StagedFolder& folder) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  SetInterruptNotice("the same command continues the download");
  ProgressBar bar(stderr);
  const auto show = [&](int64_t here, int64_t total) { bar.DrawBytes(here, total); };
  const fs::path directory = folder.working() / "checkpoint";
  WF_RETURN_IF_ERROR(
      DownloadCheckpoint(session, name, directory, OtherCheckpoint::kReplaced, show).status());
  return directory;
}

void PrintResult(const Flags& flags, const ExportedModel& exported) {
  const CheckpointManifest& manifest = exported.manifest;
  const std::string checkpoint = CheckpointDirectoryName({manifest.step, manifest.epoch});
  if (flags.json) {
    const nlohmann::json json = {{"output", flags.output},
                                 {"job", manifest.job},
                                 {"checkpoint", checkpoint},
                                 {"step", manifest.step},
                                 {"weights", flags.ema ? "moving_average" : "trained"},
                                 {"parameters", exported.parameters},
                                 {"bytes", exported.bytes}};
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  std::printf("%s of %s, step %s: %s parameters, %s in %s\n",
              flags.ema ? "The moving average" : "The model",
              OnOneLine(ResourceId(manifest.job)).c_str(),
              FormatInteger(static_cast<int64_t>(manifest.step)).c_str(),
              FormatInteger(exported.parameters).c_str(),
              FormatBytes(static_cast<double>(exported.bytes)).c_str(), flags.output.c_str());
  std::fprintf(stderr, "Try: python3 %s %s \"Once upon a time\"\n",
               (fs::path(flags.output) / kPyTorchModuleFile).c_str(), flags.output.c_str());
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  std::error_code error;
  const bool local = fs::is_directory(flags.target, error);
  std::string name;
  if (!local) {
    WF_ASSIGN_OR_RETURN(name, ParseCheckpointName(flags.target));
  }
  StagedFolder folder(flags.output);
  WF_RETURN_IF_ERROR(folder.Open());
  fs::path checkpoint = flags.target;
  if (!local) {
    WF_ASSIGN_OR_RETURN(checkpoint, Download(name, connection, folder));
  }
  const auto weights = flags.ema ? ExportedWeights::kMovingAverage : ExportedWeights::kTrained;
  const auto exported = ExportCheckpoint(checkpoint, weights, folder);
  if (!exported.ok() && !local) {
    return absl::Status(exported.status().code(),
                        absl::StrCat(exported.status().message(), "; what was fetched is kept in ",
                                     checkpoint.string(), " for another try"));
  }
  WF_RETURN_IF_ERROR(exported.status());
  PrintResult(flags, *exported);
  return kExitSuccess;
}

}  // namespace

void AddCheckpointsExportCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "export", "Write a checkpoint as a folder that stands alone, with a PyTorch module");
  command
      ->add_option("CHECKPOINT", flags->target,
                   "JOB (its newest), JOB@STEP, or a downloaded directory")
      ->required();
  command->add_option("--output", flags->output, "the folder; new, or empty")->required();
  command->add_flag("--ema", flags->ema, "the moving average of the weights in place of the last");
  command->add_flag("--json", flags->json, "print what was exported as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
