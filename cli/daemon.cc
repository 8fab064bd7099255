#include "cli/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLineBytes = 4096;
constexpr std::streamoff kMaxTailBytes = 16 << 10;

}  // namespace

absl::StatusOr<Daemon> Daemon::Start(std::vector<std::string> command, fs::path log) {
  FileDescriptor log_file(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log_file.valid()) return ErrnoToStatus(errno, "cannot open " + log.string());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "cannot create a pipe");
  FileDescriptor reading(ends[0]), writing(ends[1]);
  ::fcntl(reading.get(), F_SETFL, O_NONBLOCK);

  const std::string name = command.at(0);
  command[0] = (ProgramDirectory() / name).string();
  ProcessOptions options;
  options.command = std::move(command);
  // What is meant for a client (an address, a token, a certificate) is not meant for its daemons.
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (text.starts_with("WAVEFIELD_")) {
      options.environment.emplace_back(text.substr(0, text.find('=') + 1));
    }
  }
  options.stdout_fd = writing.get();
  options.stderr_fd = log_file.get();
  WF_ASSIGN_OR_RETURN(Subprocess process, Subprocess::Start(options));
  return Daemon(name, std::move(log), std::move(reading), std::move(process));
}

const std::optional<std::string>& Daemon::PollReady() {
  constexpr char kReady[] = "ready ";
  char buffer[4096];
  ssize_t got;
  while ((got = ::read(output_.get(), buffer, sizeof(buffer))) > 0) {
    if (ready_) continue;
    for (const char c : std::string(buffer, static_cast<size_t>(got))) {
      if (c != '\n') {
        if (line_.size() < kMaxLineBytes) line_ += c;
        continue;
      }
      if (!ready_ && line_.starts_with(kReady)) ready_ = line_.substr(sizeof(kReady) - 1);
      line_.clear();
    }
  }
  return ready_;
}

absl::Status Daemon::DeathError(const ProcessExit& exit) const {
  const std::string lines = LastLines(log_, 10);
  return absl::InternalError(
      fmt::format("{} ended with {}{}\n{}(its log: {})", name_, exit.ToString(),
                  lines.empty() ? "" : "; it said last:", lines, log_.string()));
}

absl::Status RotateLog(const fs::path& log, int kept) {
  std::error_code error;
  if (!fs::exists(log, error) || fs::file_size(log, error) == 0) return absl::OkStatus();
  const auto numbered = [&](int n) {
    return fs::path(log.string() + (n > 0 ? fmt::format(".{}", n) : ""));
  };
  for (int n = kept - 1; n >= 0; --n) {
    if (!fs::exists(numbered(n), error)) continue;
    fs::rename(numbered(n), numbered(n + 1), error);
    if (error) return ErrnoToStatus(error.value(), "cannot rename " + numbered(n).string());
  }
  return absl::OkStatus();
}

std::string LastLines(const fs::path& path, int count) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  const std::streamoff size = file.tellg();
  const std::streamoff start = std::max<std::streamoff>(0, size - kMaxTailBytes);
  file.seekg(start);
  std::string text(static_cast<size_t>(size - start), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  size_t at = text.size();
  for (int i = 0; i < count && at != std::string::npos; ++i) {
    at = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
  }
  if (at != std::string::npos) text = text.substr(at + 1);
  return text.empty() ? "" : text + "\n";
}

}  // namespace wavefield
