#pragma once

#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/server/token_table.h"

namespace wavefield::coordinator {

struct TlsFiles {
  std::string certificate;  // PEM, the chain
  std::string key;          // PEM
};

// Transport and authentication of the port. With tokens, every call — reflection included, health
// checks (grpc.health.v1) excepted — is refused with UNAUTHENTICATED before any handler sees it,
// unless it brings one; `refused` is called then. Works with and without TLS. Errors name the file
// and the reason.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const std::optional<TlsFiles>& tls, std::optional<TokenTable> tokens,
    std::function<void()> refused);

}  // namespace wavefield::coordinator
