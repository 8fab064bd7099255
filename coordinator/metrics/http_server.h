#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct mg_connection;
struct mg_context;

namespace wavefield::coordinator {

// The HTTP port: GET /metrics (Prometheus text) and /healthz.
class HttpServer {
 public:
  struct Pages {
    std::function<std::string()> metrics;
    // OK: "ok" with 200; else 503 with the message.
    std::function<absl::Status()> health;
  };

  // `address`: HOST:PORT; port 0 takes a free one. UNAVAILABLE when the port is taken.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address, Pages pages);
  ~HttpServer();

  int port() const { return port_; }

 private:
  explicit HttpServer(Pages pages) : pages_(std::move(pages)) {}
  static int HandleMetrics(mg_connection* connection, void* server);
  static int HandleHealth(mg_connection* connection, void* server);

  const Pages pages_;
  mg_context* context_ = nullptr;
  std::string host_;
  int port_ = 0;
};

}  // namespace wavefield::coordinator
