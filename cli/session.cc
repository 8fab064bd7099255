#include "cli/session.h"

#include <fmt/format.h>

#include <random>

#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/real_range.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"

namespace wavefield {

void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags) {
  const std::string group = "Connection";
  app.add_option("--address", flags.options.address, "the coordinator's HOST:PORT")
      ->capture_default_str()
      ->group(group);
  app.add_option("--ca-file", flags.options.ca_file,
                 "PEM certificates that vouch for the coordinator; switches TLS on")
      ->group(group);
  app.add_option("--token-file", flags.options.token_file,
                 "file whose first line is the bearer token")
      ->group(group);
  app.add_option("--timeout", flags.timeout_seconds, "seconds a single call may take")
      ->capture_default_str()
      ->check(RealRange(0.001, 86400))
      ->group(group);
}

absl::StatusOr<Session> Session::Open(const ConnectionFlags& flags) {
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(flags.options));
  return Session(std::move(connection), absl::Seconds(flags.timeout_seconds));
}

absl::Status Session::ToError(const grpc::Status& status) const {
  absl::Status error = FromGrpcStatus(status);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return UnreachableError(
          fmt::format("cannot reach the coordinator at {} ({}); start one with 'wavefield up "
                      "--data-dir DIR', or "
                      "name another with --address or WAVEFIELD_ADDRESS",
                      address(), status.error_message()));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return UnreachableError(
          fmt::format("the coordinator at {} did not answer within {}; it may be overloaded: try "
                      "again, or give it longer with --timeout",
                      address(), FormatDuration(absl::ToDoubleSeconds(timeout_))));
    case grpc::StatusCode::UNAUTHENTICATED:
      return absl::UnauthenticatedError(
          fmt::format("{} refused the call: {} (give the token with --token-file)", address(),
                      status.error_message()));
    default:
      return error;
  }
}

std::string NewRequestId() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", static_cast<uint32_t>(random()));
  return id;
}

}  // namespace wavefield
