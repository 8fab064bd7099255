#include "cli/exit_code.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_split.h"
#include "cli/views/display_text.h"
#include "proto/rpc/status.h"

namespace wavefield {
namespace {

constexpr char kUnreachable[] = "COORDINATOR_UNREACHABLE";

}  // namespace

absl::Status UnreachableError(const std::string& message) {
  return StatusWithReason(absl::StatusCode::kUnavailable, kUnreachable, message);
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitSuccess;
  if (ReasonOf(status) == kUnreachable) return kExitUnreachable;
  if (absl::IsInvalidArgument(status) || absl::IsOutOfRange(status)) return kExitInvalidInput;
  return absl::IsNotFound(status) ? kExitNotFound : kExitFailed;
}

int FinishOutput(int code) {
  if (code != kExitSuccess) return code;
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  // An earlier write that failed left no reason.
  const std::string reason = errno == 0 ? "" : fmt::format(": {}", std::strerror(errno));
  std::fprintf(stderr, "wavefield: cannot write to the standard output%s\n", reason.c_str());
  return kExitFailed;
}

void PrintError(const absl::Status& status) {
  std::string message(status.message());
  const google::rpc::BadRequest bad_request = BadRequestOf(status);
  const int count = bad_request.field_violations_size();
  // Not twice what follows below.
  if (count > 0 &&
      message.find(bad_request.field_violations(0).description()) != std::string::npos) {
    message = count == 1 ? "a field is invalid" : std::to_string(count) + " fields are invalid";
  }
  // Line by line: control characters in what a coordinator says are shown, not obeyed.
  const char* prefix = "wavefield: ";
  for (const absl::string_view line : absl::StrSplit(message, '\n')) {
    std::fprintf(stderr, "%s%s\n", std::exchange(prefix, ""), OnOneLine(std::string(line)).c_str());
  }
  for (const auto& violation : bad_request.field_violations()) {
    std::fprintf(stderr, "%s: %s\n", OnOneLine(violation.field()).c_str(),
                 OnOneLine(violation.description()).c_str());
  }
}

}  // namespace wavefield
