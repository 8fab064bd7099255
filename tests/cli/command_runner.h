#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/subprocess.h"

namespace wavefield {

struct CommandResult {
  int exit_code = -1;  // −1: ended by a signal, or not within 20 s
  std::string out;
  std::string err;
};

// Runs `command` (command[0]: a path) to its end.
CommandResult RunCommand(const std::vector<std::string>& command,
                         const std::vector<std::string>& environment,
                         const std::string& input = "");

// Runs the `wavefield` beside this test against the coordinator at `address`.
CommandResult RunWavefield(const std::string& address, std::vector<std::string> arguments,
                           const std::string& input = "");

// A fresh directory, removed with everything in it at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::filesystem::path& path() const { return path_; }
  // Writes a file below it, with its folders; returns its path.
  std::string Write(const std::string& name, const std::string& contents) const;

 private:
  std::filesystem::path path_;
};

std::string ReadText(const std::filesystem::path& path);

}  // namespace wavefield
