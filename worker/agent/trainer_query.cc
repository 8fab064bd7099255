#include "worker/agent/trainer_query.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/subprocess.h"

namespace wavefield {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr size_t kMaxAnswerBytes = 16 << 10;

}  // namespace

absl::StatusOr<nlohmann::json> AskTrainer(const std::filesystem::path& trainer_program,
                                          const std::vector<std::string>& arguments,
                                          const std::vector<std::string>& environment,
                                          const std::function<bool()>& cancelled) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "cannot create a pipe");
  const FileDescriptor read_end(fds[0]);
  FileDescriptor write_end(fds[1]);
  ProcessOptions options;
  options.command = {trainer_program.string()};
  options.command.insert(options.command.end(), arguments.begin(), arguments.end());
  options.environment = environment;
  options.stdout_fd = write_end.get();
  WF_ASSIGN_OR_RETURN(const Subprocess process, Subprocess::Start(options));
  write_end.Close();

  const absl::Duration deadline = Clock::Real().Monotonic() + kTimeout;
  std::string output;
  while (true) {
    if (cancelled()) return absl::CancelledError("the question was cancelled");
    if (Clock::Real().Monotonic() > deadline || output.size() > kMaxAnswerBytes) break;
    pollfd poll_fd = {read_end.get(), POLLIN, 0};
    if (::poll(&poll_fd, 1, 50) <= 0) continue;
    char buffer[512];
    const ssize_t got = ::read(read_end.get(), buffer, sizeof(buffer));
    if (got <= 0) break;
    output.append(buffer, static_cast<size_t>(got));
  }
  auto json = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  return absl::UnavailableError(absl::StrCat("`", absl::StrJoin(options.command, " "),
                                             "` did not answer with a JSON object"));
}

}  // namespace wavefield
