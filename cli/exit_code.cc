#include "cli/exit_code.h"

#include <cstdio>
#include <string>

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

void PrintError(const absl::Status& status) {
  std::string message(status.message());
  const google::rpc::BadRequest bad_request = BadRequestOf(status);
  const int count = bad_request.field_violations_size();
  // Not twice what follows below.
  if (count > 0 &&
      message.find(bad_request.field_violations(0).description()) != std::string::npos) {
    message = count == 1 ? "a field is invalid" : std::to_string(count) + " fields are invalid";
  }
  std::fprintf(stderr, "wavefield: %s\n", message.c_str());
  for (const auto& violation : bad_request.field_violations()) {
    std::fprintf(stderr, "%s: %s\n", violation.field().c_str(), violation.description().c_str());
  }
}

}  // namespace wavefield
