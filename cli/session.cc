#include "cli/session.h"

#include <fmt/format.h>

#include <random>

#include "absl/strings/match.h"
#include "cli/exit_code.h"
#include "cli/profiles.h"
#include "cli/real_range.h"
#include "cli/views/format.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"

namespace wavefield {
namespace {

// Whether something answered a connection, but did not speak TLS, or not as it was expected to.
bool IsAboutTls(const std::string& error) {
  if (!absl::StrContains(error, "failed to connect")) return false;
  for (const char* sign : {"Socket closed", "Ssl handshake failed", "wrong version number",
                           "is not in peer certificate"}) {
    if (absl::StrContains(error, sign)) return true;
  }
  return false;
}

// For people whose call got `error` from gRPC in place of an answer.
std::string WhatToDo(const std::string& error, bool tls) {
  if (!IsAboutTls(error)) {
    return "start one with 'wavefield up --data-dir DIR', or name another with --address, "
           "WAVEFIELD_ADDRESS or 'wavefield login'";
  }
  return tls ? "something answers there, but not with TLS that --ca-file vouches for: leave "
               "--ca-file out if the coordinator has no TLS, else give the certificates that "
               "signed its own"
             : "something answers there, but not without TLS: if the coordinator has it, give its "
               "certificate authority with --ca-file";
}

}  // namespace

void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags) {
  const std::string group = "Connection";
  const std::string default_address = std::exchange(flags.options.address, "");
  app.add_option("--address", flags.options.address, "the coordinator's HOST:PORT")
      ->default_str(default_address)
      ->group(group);
  app.add_option("--profile", flags.profile,
                 "what 'wavefield login' kept under this name; for its own address alone")
      ->group(group);
  app.add_option("--ca-file", flags.options.ca_file,
                 "PEM certificates that vouch for the coordinator; switches TLS on")
      ->group(group);
  app.add_option("--token-file", flags.options.token_file, "file that holds the bearer token")
      ->group(group);
  app.add_option("--client-cert", flags.options.client_certificate_file,
                 "PEM certificate of this client, for coordinators that ask for one")
      ->group(group);
  app.add_option("--client-key", flags.options.client_key_file, "its private key, PEM")
      ->group(group);
  app.add_option("--timeout", flags.timeout_seconds, "seconds a single call may take")
      ->capture_default_str()
      ->check(RealRange(0.001, 86400))
      ->group(group);
}

absl::StatusOr<Session> Session::Open(const ConnectionFlags& flags) {
  ConnectionOptions options = flags.options;
  if (flags.use_profile) {
    WF_ASSIGN_OR_RETURN(options, WithProfile(std::move(options), flags.profile));
  }
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(options));
  return Session(std::move(connection), absl::Seconds(flags.timeout_seconds));
}

absl::Status Session::ToError(const grpc::Status& status) const {
  absl::Status error = FromGrpcStatus(status);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return UnreachableError(fmt::format("cannot reach the coordinator at {} ({}); {}", address(),
                                          status.error_message(),
                                          WhatToDo(status.error_message(), connection_.tls())));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return UnreachableError(
          fmt::format("the coordinator at {} did not answer within {}; it may be overloaded: try "
                      "again, or give it longer with --timeout",
                      address(), FormatDuration(absl::ToDoubleSeconds(timeout_))));
    case grpc::StatusCode::UNAUTHENTICATED:
      return absl::UnauthenticatedError(
          fmt::format("{} refused the call: {} (give the token with --token-file, or log in "
                      "with 'wavefield login {}')",
                      address(), status.error_message(), address()));
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
