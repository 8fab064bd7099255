#include "cli/commands.h"

#include <cstdio>

#include "cli/exit_code.h"

namespace wavefield {

int CommandContext::ShowUsage(const CLI::App& app) {
  std::fprintf(stderr, "%s\nA command is missing; choose one of the above.\n", app.help().c_str());
  return kExitInvalidInput;
}

}  // namespace wavefield
