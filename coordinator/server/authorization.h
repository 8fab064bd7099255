#pragma once

#include <grpcpp/server_context.h>

#include <string>

namespace wavefield::coordinator {

// What a call brings as "authorization"; empty if nothing. The port lets no call in that brings
// two.
inline std::string AuthorizationOf(const grpc::ServerContextBase& call) {
  const auto found = call.client_metadata().find("authorization");
  if (found == call.client_metadata().end()) return "";
  return {found->second.data(), found->second.size()};
}

}  // namespace wavefield::coordinator
