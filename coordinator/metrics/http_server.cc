#include "coordinator/metrics/http_server.h"

#include <civetweb.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "core/base/file.h"

namespace wavefield::coordinator {
namespace {

int Answer(mg_connection* connection, int code, const char* reason, const char* type,
           const std::string& body) {
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string method = request->request_method;
  if (method != "GET" && method != "HEAD") {
    mg_printf(connection,
              "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\n\r\n");
    return 405;
  }
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: "
            "no-store\r\n\r\n",
            code, reason, type, body.size());
  if (method == "GET") mg_write(connection, body.data(), body.size());
  return code;
}

// Begins a connection and leaves again.
void Knock(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return;
  const FileDescriptor fd(
      ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  [[maybe_unused]] const int pending = ::connect(fd.get(), found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
}

}  // namespace

int HttpServer::HandleMetrics(mg_connection* connection, void* server) {
  return Answer(connection, 200, "OK", "text/plain; version=0.0.4; charset=utf-8",
                static_cast<HttpServer*>(server)->pages_.metrics());
}

int HttpServer::HandleHealth(mg_connection* connection, void* server) {
  const absl::Status health = static_cast<HttpServer*>(server)->pages_.health();
  if (health.ok()) return Answer(connection, 200, "OK", "text/plain; charset=utf-8", "ok\n");
  return Answer(connection, 503, "Service Unavailable", "text/plain; charset=utf-8",
                std::string(health.message()) + "\n");
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              Pages pages) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(pages)));
  mg_init_library(0);
  server->host_ = address.substr(0, address.rfind(':'));
  const std::array<const char*, 11> options = {"listening_ports",
                                               address.c_str(),
                                               "num_threads",
                                               "4",
                                               "request_timeout_ms",
                                               "5000",
                                               "enable_keep_alive",
                                               "yes",
                                               "keep_alive_timeout_ms",
                                               "5000",
                                               nullptr};
  mg_callbacks callbacks{};
  // Its own messages would go to stderr; ours says what matters.
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  server->context_ = mg_start(&callbacks, nullptr, const_cast<const char**>(options.data()));
  if (server->context_ == nullptr) {
    return absl::UnavailableError(
        fmt::format("cannot listen on {} for HTTP: the port is in use or the address is not this "
                    "machine's; give "
                    "another one with --http-listen",
                    address));
  }
  mg_server_port port{};
  if (mg_get_server_ports(server->context_, 1, &port) == 1) server->port_ = port.port;
  mg_set_request_handler(server->context_, "/metrics$", &HttpServer::HandleMetrics, server.get());
  mg_set_request_handler(server->context_, "/healthz$", &HttpServer::HandleHealth, server.get());
  return server;
}

HttpServer::~HttpServer() {
  if (context_ != nullptr) {
    // CivetWeb notices the end of its life when its poll of two seconds is over, or somebody
    // connects.
    std::atomic<bool> stopped = false;
    std::thread stopper([&] {
      mg_stop(context_);
      stopped = true;
    });
    while (!stopped) {
      Knock(host_, port_);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    stopper.join();
  }
  mg_exit_library();
}

}  // namespace wavefield::coordinator
