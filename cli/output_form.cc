#include "cli/output_form.h"

#include "absl/time/clock.h"
#include "cli/views/terminal.h"

namespace wavefield {
namespace {

void AddFlags(CLI::App& command, OutputFlags& flags, const std::string& message,
              const std::vector<std::string>& forms) {
  command
      .add_option("--output", flags.form,
                  "table; wide: more columns, times in UTC; json" +
                      std::string(forms.size() > 3 ? "; names: ids alone" : ""))
      ->check(CLI::IsMember(forms))
      ->envname("WAVEFIELD_OUTPUT_FORM");
  command.add_flag("--json", flags.json_flag,
                   "print " + message + " as JSON; the same as --output json");
  command.add_flag("--exact", flags.exact, "print times in UTC, not as '3 min ago'");
}

}  // namespace

ViewStyle OutputFlags::Style(std::FILE* stream) const {
  const bool wide = form == "wide";
  return {.now = absl::Now(),
          .wide = wide,
          .exact = exact || wide,
          .colors = TerminalWantsColors(stream),
          .unicode = LocaleIsUtf8()};
}

void AddOutputFlags(CLI::App& command, OutputFlags& flags, const std::string& message) {
  AddFlags(command, flags, message, {"table", "wide", "json"});
}

void AddListOutputFlags(CLI::App& command, OutputFlags& flags, const std::string& message) {
  AddFlags(command, flags, message, {"table", "wide", "json", "names"});
}

}  // namespace wavefield
