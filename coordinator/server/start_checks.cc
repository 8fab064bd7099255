#include "coordinator/server/start_checks.h"

#include <fmt/format.h>
#include <netdb.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "coordinator/cluster/random_id.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "proto/rpc/channel.h"

namespace wavefield::coordinator {
namespace {

absl::Status CheckAddress(const std::string& address, const char* flag) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos && colon > 0) {
    const char* end = address.data() + address.size();
    const auto parsed = std::from_chars(address.data() + colon + 1, end, port);
    if (parsed.ec == std::errc() && parsed.ptr == end && port >= 0 && port <= 65535) {
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("{} is '{}'; it must be HOST:PORT with a port of 0 to 65535", flag, address));
}

}  // namespace

std::string HostOf(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  return host;
}

absl::Status CheckOptions(const ServerOptions& options) {
  WF_RETURN_IF_ERROR(CheckAddress(options.listen, "--listen"));
  WF_RETURN_IF_ERROR(CheckAddress(options.http_listen, "--http-listen"));
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together: give both or none");
  }
  if (!options.tls_client_ca.empty() && options.tls_certificate.empty()) {
    return absl::InvalidArgumentError(
        "--tls-client-ca asks clients for certificates, which takes TLS: give --tls-cert and "
        "--tls-key too");
  }
  const bool protected_port = !options.tls_certificate.empty() && !options.token_file.empty();
  if (!IsLoopback(options.http_listen) && !options.insecure) {
    return absl::InvalidArgumentError(fmt::format(
        "--http-listen {} can be reached from other machines, and metrics are served to everybody: "
        "listen on 127.0.0.1 behind a proxy, or say --insecure",
        options.http_listen));
  }
  if (!IsLoopback(options.listen) && !protected_port && !options.insecure) {
    return absl::InvalidArgumentError(fmt::format(
        "--listen {} can be reached from other machines: give --tls-cert, --tls-key and "
        "--token-file, or say --insecure if everybody who can reach it may use it",
        options.listen));
  }
  if (options.lease < options.heartbeat * 2 || options.heartbeat <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(fmt::format(
        "--lease-seconds is {} and --heartbeat-seconds {}; a lease must last at least two "
        "heartbeats",
        absl::ToDoubleSeconds(options.lease), absl::ToDoubleSeconds(options.heartbeat)));
  }
  return absl::OkStatus();
}

absl::Status CheckPortFree(const std::string& address, const char* flag) {
  const std::string host = HostOf(address);
  const std::string port = address.substr(address.rfind(':') + 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} {}: the host is unknown ({})", flag, address, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  const FileDescriptor fd(::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) == 0) return absl::OkStatus();
  const char* advice = errno == EADDRINUSE
                           ? "is another coordinator running? Stop it or take another port"
                           : "take an address of this machine";
  return absl::UnavailableError(
      fmt::format("cannot listen on {} ({}): {}; {}", address, flag, std::strerror(errno), advice));
}

absl::StatusOr<std::string> ReadOrMakeProbe(const std::filesystem::path& storage_root) {
  const std::filesystem::path path = storage_root / "probe";
  auto existing = ReadFile(path, 4096);
  if (existing.ok()) {
    std::string probe = *std::move(existing);
    absl::StripAsciiWhitespace(&probe);
    if (!probe.empty()) return probe;
  } else if (!absl::IsNotFound(existing.status())) {
    return existing.status();
  }
  const std::string probe = RandomHex(32);
  WF_RETURN_IF_ERROR(WriteFileAtomically(path, probe + "\n"));
  return probe;
}

void RemoveStagedUploads(const std::filesystem::path& storage_root) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(storage_root / "datasets", error)) {
    if (entry.path().filename().string().rfind(".staging-", 0) != 0) continue;
    std::error_code ignored;
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

void RaiseFileLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0)
    spdlog::warn("the limit of open files stays as it is");
}

}  // namespace wavefield::coordinator
