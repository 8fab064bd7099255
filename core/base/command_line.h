#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace wavefield {

// A program's command line on CLI11, the same everywhere:
//   --help, --version, --config FILE.json (keys are the long flag names, a subcommand's flags in an
//   object of its name), and WAVEFIELD_<FLAG> in the environment for every flag.
// Precedence: command line, environment, file, default. An unknown flag, subcommand or key is an
// error that names the nearest known one.
//
// Use: build the tree of `app()`, with subcommands as CLI11 does it, then Run().
class CommandLine {
 public:
  CommandLine(std::string name, std::string description);

  CLI::App& app() { return app_; }

  // Parses, then calls `run` and returns its exit code. Without calling it: 0 after --help or
  // --version, 2 after an error, which it prints to stderr.
  int Run(int argc, char** argv, const std::function<int()>& run);

 private:
  CLI::App app_;
};

}  // namespace wavefield
