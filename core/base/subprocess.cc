#include "core/base/subprocess.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"

extern char** environ;

namespace wavefield {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> MergedEnvironment(const std::vector<std::string>& added) {
  std::vector<std::string> merged = added;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& a : added) replaced = replaced || a.starts_with(name);
    if (!replaced) merged.emplace_back(text);
  }
  return merged;
}

}  // namespace

std::string ProcessExit::ToString() const {
  if (signal) return absl::StrCat("signal ", *signal, " (", strsignal(*signal), ")");
  return absl::StrCat("exit code ", code.value_or(-1));
}

std::filesystem::path ProgramDirectory() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

absl::StatusOr<std::pair<FileDescriptor, FileDescriptor>> SocketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoToStatus(errno, "cannot create a socket pair");
  }
  return std::make_pair(FileDescriptor(fds[0]), FileDescriptor(fds[1]));
}

absl::StatusOr<Subprocess> Subprocess::Start(const ProcessOptions& options) {
  const std::filesystem::path launcher = ProgramDirectory() / "wavefield-launcher";
  if (::access(options.command.at(0).c_str(), X_OK) != 0) {
    return ErrnoToStatus(errno, absl::StrCat("cannot run ", options.command[0]));
  }
  std::vector<std::string> arguments = {launcher.string(), absl::StrCat(::getpid()),
                                        std::to_string(options.channel_fd)};
  arguments.insert(arguments.end(), options.command.begin(), options.command.end());
  std::vector<std::string> environment = MergedEnvironment(options.environment);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (options.stdin_fd >= 0) {
    posix_spawn_file_actions_adddup2(&actions, options.stdin_fd, 0);
  } else {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  }
  if (options.stdout_fd >= 0) posix_spawn_file_actions_adddup2(&actions, options.stdout_fd, 1);
  if (options.stderr_fd >= 0) posix_spawn_file_actions_adddup2(&actions, options.stderr_fd, 2);
  // A descriptor duplicated onto itself loses close-on-exec: the launcher moves it to fd 3.
  if (options.channel_fd >= 0) {
    posix_spawn_file_actions_adddup2(&actions, options.channel_fd, options.channel_fd);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD}) sigaddset(&defaults, s);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, launcher.c_str(), &actions, &attributes,
                                  Pointers(arguments).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return ErrnoToStatus(error, absl::StrCat("cannot run ", launcher.string()));
  return Subprocess(pid);
}

Subprocess::Subprocess(Subprocess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_(std::move(other.exit_)) {}

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(exit_, other.exit_);
  return *this;
}

Subprocess::~Subprocess() {
  if (pid_ > 0) Stop(absl::ZeroDuration());
}

void Subprocess::Signal(int signal) {
  if (pid_ > 0 && !exit_) ::kill(-pid_, signal);
}

std::optional<ProcessExit> Subprocess::Poll() {
  if (exit_ || pid_ <= 0) return exit_;
  // Left unreaped until the group is killed, so that the group's number cannot be another's by
  // then.
  siginfo_t info{};
  const int failed = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
  if (failed != 0 && errno == ECHILD) {
    // This process inherited an ignored SIGCHLD: the kernel reaped the child and told nobody how it
    // ended.
    exit_ = ProcessExit{.code = 255};
    return exit_;
  }
  if (failed != 0 || info.si_pid == 0) return std::nullopt;
  ::kill(-pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  exit_.emplace();
  if (WIFSIGNALED(status)) exit_->signal = WTERMSIG(status);
  if (WIFEXITED(status)) exit_->code = WEXITSTATUS(status);
  return exit_;
}

std::optional<ProcessExit> Subprocess::Wait(absl::Duration timeout) {
  const absl::Duration deadline = Clock::Real().Monotonic() + timeout;
  while (!Poll() && Clock::Real().Monotonic() < deadline) absl::SleepFor(absl::Milliseconds(5));
  return exit_;
}

ProcessExit Subprocess::Stop(absl::Duration grace) {
  if (grace > absl::ZeroDuration()) {
    Signal(SIGTERM);
    if (Wait(grace)) return *exit_;
  }
  Signal(SIGKILL);
  Wait(absl::InfiniteDuration());
  return *exit_;
}

}  // namespace wavefield
