#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/views/format.h"
#include "cli/views/table.h"
#include "core/model/accounting.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

std::string PresetsJson() {
  nlohmann::json presets = nlohmann::json::array();
  for (const Preset& preset : Presets()) {
    presets.push_back({{"name", preset.name},
                       {"config", ToJson(preset.config)},
                       {"parameter_count", ParameterCount(preset.config)}});
  }
  return nlohmann::json{{"presets", presets}}.dump(2) + "\n";
}

std::string PresetsTable() {
  Table table({{"PRESET"},
               {"WIDTH", Align::kRight},
               {"LAYERS", Align::kRight},
               {"HEADS", Align::kRight},
               {"FEED-FORWARD", Align::kRight},
               {"VOCABULARY", Align::kRight},
               {"PARAMETERS", Align::kRight}});
  for (const auto& [name, config] : Presets()) {
    table.AddRow({name, FormatInteger(config.d_model), FormatInteger(config.n_layers),
                  FormatInteger(config.n_heads), FormatInteger(config.d_ff),
                  FormatInteger(config.vocab_size), FormatInteger(ParameterCount(config))});
  }
  return table.ToString();
}

}  // namespace

void AddModelPresetsCommand(CLI::App& parent, CommandContext& context) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = parent.add_subcommand("presets", "List the architectures that have a name");
  command->add_flag("--json", *json, "print JSON");
  context.OnCommand(command, [json]() -> absl::StatusOr<int> {
    std::printf("%s", (*json ? PresetsJson() : PresetsTable()).c_str());
    return kExitSuccess;
  });
}

}  // namespace wavefield
