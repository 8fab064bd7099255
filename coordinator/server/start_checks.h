#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/server/server.h"

namespace wavefield::coordinator {

// Addresses, TLS, tokens and times that go together: without TLS and tokens only loopback is
// served, unless `insecure` is said aloud.
absl::Status CheckOptions(const ServerOptions& options);

// "HOST" of "HOST:PORT".
std::string HostOf(const std::string& address);

// OK if a socket can be bound to the address now; else UNAVAILABLE with the reason and what to do.
absl::Status CheckPortFree(const std::string& address, const char* flag);

// The token by which workers prove that they see the storage root: kept if there, else made.
absl::StatusOr<std::string> ReadOrMakeProbe(const std::filesystem::path& storage_root);

// What uploads of an earlier process left.
void RemoveStagedUploads(const std::filesystem::path& storage_root);

// Lets the process open as many files as it may at most: each worker and watch holds a connection,
// and programs often start with a limit of 1024.
void RaiseFileLimit();

}  // namespace wavefield::coordinator
