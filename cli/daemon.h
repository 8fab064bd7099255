#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/file.h"
#include "core/base/subprocess.h"

namespace wavefield {

// A program of the cluster that runs under `wavefield up`: it says "ready WORD" on its stdout when
// it serves, and writes its log to stderr, which goes to a file. Not thread-safe.
class Daemon {
 public:
  // Appends to `log`. `command[0]` is the program's name, found beside this program.
  static absl::StatusOr<Daemon> Start(std::vector<std::string> command, std::filesystem::path log);

  const std::string& name() const { return name_; }
  // WORD of the line "ready WORD" once it came. Call it again and again, also afterwards: it
  // empties the pipe. Does not block.
  const std::optional<std::string>& PollReady();
  std::optional<ProcessExit> Poll() { return process_.Poll(); }
  void Signal(int signal) { process_.Signal(signal); }
  // Why it is gone, with the last lines of its log.
  absl::Status DeathError(const ProcessExit& exit) const;

 private:
  Daemon(std::string name, std::filesystem::path log, FileDescriptor output, Subprocess process)
      : name_(std::move(name)),
        log_(std::move(log)),
        output_(std::move(output)),
        process_(std::move(process)) {}

  std::string name_;
  std::filesystem::path log_;
  FileDescriptor output_;  // the reading end of its stdout
  Subprocess process_;
  std::string line_;  // the beginning of a line
  std::optional<std::string> ready_;
};

// Moves log → log.1 → … → log.`kept`; the oldest goes. Nothing happens when there is no log, or an
// empty one.
absl::Status RotateLog(const std::filesystem::path& log, int kept);

// The last `count` lines of a file, without reading more than its last 16 KiB; "" when unreadable.
std::string LastLines(const std::filesystem::path& path, int count);

}  // namespace wavefield
