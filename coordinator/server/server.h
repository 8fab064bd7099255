#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/logs/log_store.h"
#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

struct ServerOptions {
  std::filesystem::path data_dir;
  std::filesystem::path storage_root;  // empty: data_dir/storage
  std::string listen = "127.0.0.1:7070";
  std::string http_listen = "127.0.0.1:7071";
  std::string tls_certificate;
  std::string tls_key;
  std::string tls_client_ca;  // unless empty, clients must have a certificate signed by it
  std::string token_file;
  bool insecure = false;
  SchedulerOptions scheduler;
  absl::Duration lease = absl::Seconds(10);
  absl::Duration heartbeat = absl::Seconds(2);
  // Series of an ended job or a lost worker are shown for so long.
  absl::Duration metrics_retention = absl::Hours(1);
  // Of jobs, workers, GPUs and layers; further ones are not shown.
  int64_t metrics_max_series = 100'000;
  LogLimits logs;
};

// A coordinator that serves, until it is destroyed: then it stops in an orderly way.
class Server {
 public:
  // FAILED_PRECONDITION: another coordinator uses the data directory, or its store is of a newer
  // version. UNAVAILABLE: a port cannot be had. INVALID_ARGUMENT: options that do not go together,
  // files that do not hold what they should.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();

  // HOST:PORT, with the port that was taken.
  const std::string& address() const;
  int http_port() const;

  // Takes the token file again if it changed; the server itself looks every second. Thread-safe.
  void RefreshTokens();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wavefield::coordinator
