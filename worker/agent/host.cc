#include "worker/agent/host.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "proto/rpc/channel.h"
#include "worker/agent/trainer_query.h"

namespace wavefield {
namespace {

// "host:port", "[host]:port", either after a scheme like "dns:///".
std::pair<std::string, std::string> HostAndPort(std::string address) {
  if (const size_t scheme = address.rfind('/'); scheme != std::string::npos) {
    address.erase(0, scheme + 1);
  }
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  std::string port = colon == std::string::npos ? "443" : address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return {std::move(host), std::move(port)};
}

}  // namespace

std::string DefaultWorkerName() {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  std::string name;
  for (const char* c = host; *c != '\0'; ++c) {
    const char lower = *c >= 'A' && *c <= 'Z' ? static_cast<char>(*c - 'A' + 'a') : *c;
    const bool valid =
        (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '.';
    name.push_back(valid ? lower : '-');
  }
  if (name.empty() || name[0] < 'a' || name[0] > 'z') name.insert(0, "worker-");
  return name.substr(0, 63);
}

absl::Status CheckWorkerName(const std::string& name) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto is_allowed = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
  };
  if (!name.empty() && name.size() <= 63 && is_letter(name[0]) &&
      std::all_of(name.begin(), name.end(), is_allowed)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--name '", name,
      "' is not a worker name: at most 63 of a-z, 0-9, '.' and '-', beginning with a letter"));
}

int HardwareThreads() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int64_t TotalMemory() {
  const int64_t machine = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  const auto limit = ReadFile("/sys/fs/cgroup/memory.max", 64);
  int64_t bytes = 0;
  if (limit.ok() && absl::SimpleAtoi(*limit, &bytes) && bytes > 0) return std::min(machine, bytes);
  return machine;
}

absl::StatusOr<std::string> AddressTowards(const std::string& coordinator) {
  if (IsLoopback(coordinator)) return "127.0.0.1";
  const auto [host, port] = HostAndPort(coordinator);
  const auto fail = [&](const std::string& why) {
    return absl::UnavailableError(absl::StrCat("cannot tell which address of this host reaches ",
                                               coordinator, ": ", why,
                                               "; give it with --advertise-address"));
  };
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return fail(::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  // Connecting a datagram socket sends nothing: it asks for the route.
  const FileDescriptor fd(
      ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol));
  sockaddr_storage local{};
  socklen_t length = sizeof(local);
  if (!fd.valid() || ::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &length) != 0) {
    return fail(std::strerror(errno));
  }
  char text[NI_MAXHOST];
  if (const int error = ::getnameinfo(reinterpret_cast<sockaddr*>(&local), length, text,
                                      sizeof(text), nullptr, 0, NI_NUMERICHOST);
      error != 0) {
    return fail(::gai_strerror(error));
  }
  return std::string(text);
}

absl::StatusOr<double> MeasureSlotRate(const std::filesystem::path& trainer_program, int threads,
                                       const std::function<bool()>& cancelled) {
  WF_ASSIGN_OR_RETURN(const auto json,
                      AskTrainer(trainer_program, {"rate", "--threads", std::to_string(threads)},
                                 {absl::StrCat("OMP_NUM_THREADS=", threads)}, cancelled));
  if (!json.contains("matmul_rate") || !json["matmul_rate"].is_number()) {
    return absl::UnavailableError(
        absl::StrCat(trainer_program.string(), " rate did not tell a rate of matrix products"));
  }
  return json["matmul_rate"].get<double>();
}

}  // namespace wavefield
