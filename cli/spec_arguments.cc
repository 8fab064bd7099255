#include "cli/spec_arguments.h"

#include <filesystem>

#include "cli/input_text.h"
#include "cli/spec_editing.h"
#include "core/base/status_macros.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

constexpr uint64_t kMaxSpecBytes = 1 << 20;

// What can only be meant for a preset: no file, and not written like one.
bool LooksLikePreset(const std::string& text) {
  return !text.empty() && text != "-" && text.find_first_of("./") == std::string::npos &&
         !std::filesystem::exists(text);
}

}  // namespace

void AddSpecFlags(CLI::App& command, SpecArguments& arguments) {
  command.add_option(
      "SPEC.json", arguments.file,
      "a JobSpec in JSON ('-' reads it from standard input), or the name of a preset");
  command.add_option("--preset", arguments.preset, "the model ('wavefield model presets')");
  command
      .add_option("--set", arguments.assignments,
                  "set one field: path.to.field=value, e.g. training.max_steps=1000; repeatable")
      ->allow_extra_args(false);
}

absl::StatusOr<v1::JobSpec> BuildSpec(const SpecArguments& arguments) {
  v1::JobSpec spec;
  if (LooksLikePreset(arguments.file)) {
    WF_RETURN_IF_ERROR(FindPreset(arguments.file).status());
    spec.mutable_model()->set_preset(arguments.file);
  } else if (!arguments.file.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string json, ReadFileOrInput(arguments.file, kMaxSpecBytes));
    WF_RETURN_IF_ERROR(ParseSpec(json, arguments.file, spec));
  }
  if (!arguments.preset.empty()) spec.mutable_model()->set_preset(arguments.preset);
  for (const std::string& assignment : arguments.assignments) {
    WF_RETURN_IF_ERROR(SetField(assignment, spec));
  }
  return spec;
}

}  // namespace wavefield
