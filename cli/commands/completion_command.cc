#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/exit_code.h"

namespace wavefield {

void AddCompletionCommand(CLI::App& parent, CommandContext& context) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = parent.add_subcommand(
      "completion", "Print a script that completes this program's commands, flags and job ids");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  context.OnCommand(command, [&parent, shell] {
    const std::vector<CompletionCommand> commands = DescribeCommands(parent);
    const std::string script = *shell == "bash"  ? BashCompletion(commands)
                               : *shell == "zsh" ? ZshCompletion(commands)
                                                 : FishCompletion(commands);
    std::printf("%s", script.c_str());
    return kExitSuccess;
  });
}

}  // namespace wavefield
