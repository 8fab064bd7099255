#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/file.h"

namespace wavefield {

struct ProcessOptions {
  std::vector<std::string> command;      // command[0]: the program's path
  std::vector<std::string> environment;  // "NAME=value", added to (and over) this process's own
  int channel_fd = -1;                   // becomes fd 3 of the process; not closed here
  int stdin_fd = -1;                     // −1: /dev/null
  int stdout_fd = -1;                    // −1: this process's own
  int stderr_fd = -1;                    // −1: this process's own
};

// How a process ended: exactly one of the two is set.
struct ProcessExit {
  std::optional<int> code;
  std::optional<int> signal;
  std::string ToString() const;  // "exit code 3", "signal 9 (Killed)"
};

// A child process in a process group of its own, started through the program `wavefield-launcher`
// (found beside this program), which asks the kernel to kill it when the thread that called Start()
// ends: call Start() from a thread that lives as long as the process that owns the child. Nothing
// is forked here, so gRPC may be in use. The group is killed and reaped on destruction. Not
// thread-safe.
class Subprocess {
 public:
  static absl::StatusOr<Subprocess> Start(const ProcessOptions& options);
  ~Subprocess();
  Subprocess(Subprocess&& other) noexcept;
  Subprocess& operator=(Subprocess&& other) noexcept;

  pid_t pid() const { return pid_; }
  // Sends `signal` to the whole group; no effect once it was reaped.
  void Signal(int signal);
  // Not blocking: the exit if there was one.
  std::optional<ProcessExit> Poll();
  // Waits at most `timeout`.
  std::optional<ProcessExit> Wait(absl::Duration timeout);
  // SIGTERM, then SIGKILL after `grace`, then reaped.
  ProcessExit Stop(absl::Duration grace);

 private:
  explicit Subprocess(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
  std::optional<ProcessExit> exit_;
};

// The folder of the running program, where its sisters are installed.
std::filesystem::path ProgramDirectory();

// Opens two connected, close-on-exec stream sockets.
absl::StatusOr<std::pair<FileDescriptor, FileDescriptor>> SocketPair();

}  // namespace wavefield
