#include "cli/confirmation.h"

#include <fmt/format.h>

#include <cstdio>
#include <iostream>

#include "absl/strings/ascii.h"
#include "cli/views/terminal.h"

namespace wavefield {

absl::Status ConfirmDestruction(const std::string& question, bool yes) {
  if (yes) return absl::OkStatus();
  if (!IsTerminal(stdin) || !IsTerminal(stderr)) {
    return absl::InvalidArgumentError(fmt::format(
        "{} There is no terminal to ask on: say --yes to do it, --dry-run to only look", question));
  }
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  answer = absl::AsciiStrToLower(absl::StripAsciiWhitespace(answer));
  if (answer == "y" || answer == "yes") return absl::OkStatus();
  return absl::CancelledError("nothing was done");
}

}  // namespace wavefield
