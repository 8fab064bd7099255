#pragma once

#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/server/access.h"
#include "coordinator/server/tls_files.h"

namespace wavefield::coordinator {

// A call that is not let in. No handler sees it, nor its message.
struct Refusal {
  std::string path;
  Caller caller;  // of PERMISSION_DENIED
  absl::Status status;
};

// Called for each; the call is answered when `answer` is called, on any thread.
using OnRefusal = std::function<void(const Refusal& refusal, std::function<void()> answer)>;

// Transport and authentication of the port: every call that `access` does not let in is refused
// before any handler sees it, with and without TLS. Certificates are read again, for connections to
// come, when their files change; while those do not fit together, the earlier ones stay. `access`
// must outlive the server. Errors name the file and the reason.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const std::optional<TlsFiles>& tls, const Access& access, OnRefusal refused);

}  // namespace wavefield::coordinator
