#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace wavefield {

// A flag, or what stands without one (no names), as far as completion needs to know it.
struct CompletionOption {
  std::vector<std::string> names;  // "--yes", "-y"
  std::string description;
  bool takes_value = false;
  std::vector<std::string> choices;  // of the value
  // What the value names: "jobs", "datasets", "workers" or "profiles"; empty: nothing that could be
  // listed.
  std::string resource;
};

// A command of the tree.
struct CompletionCommand {
  std::string path;  // "" (the program), "checkpoints", "checkpoints list"
  std::vector<std::string> commands;
  std::vector<std::string> descriptions;  // of the commands
  std::vector<CompletionOption> options;
};

// Every command of the tree, the program first. The program's own options work with every command.
std::vector<CompletionCommand> DescribeCommands(const CLI::App& root);

// Scripts for the shells, which complete commands, flags and the choices of values, and ids by
// asking the program.
std::string BashCompletion(const std::vector<CompletionCommand>& commands);
std::string ZshCompletion(const std::vector<CompletionCommand>& commands);
std::string FishCompletion(const std::vector<CompletionCommand>& commands);

}  // namespace wavefield
