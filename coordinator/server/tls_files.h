#pragma once

#include <grpc/grpc_security.h>

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/file_stamp.h"

namespace wavefield::coordinator {

struct TlsFiles {
  std::string certificate;  // PEM, the chain
  std::string key;          // PEM
  std::string client_ca;    // PEM; unless empty, clients must have a certificate signed by it
};

// The certificates of a port, which follow their files. Thread-safe.
class TlsSource {
 public:
  // INVALID_ARGUMENT for files that hold not what they should or do not fit together, naming them.
  static absl::StatusOr<std::unique_ptr<TlsSource>> Open(const TlsFiles& files);

  // For each connection to come: `config`, owned by the caller, where it is another than the last.
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config);

  bool asks_clients() const { return !files_.client_ca.empty(); }

 private:
  struct Contents {
    std::string certificate;
    std::string key;
    std::string client_ca;
  };
  using Stamps = std::array<FileStamp, 3>;

  explicit TlsSource(const TlsFiles& files) : files_(files) {}
  Stamps StampsNow() const;
  absl::StatusOr<Contents> Read() const;

  const TlsFiles files_;
  std::mutex mutex_;
  std::optional<Contents> unseen_;  // read, and not yet fetched
  Stamps stamps_;
};

}  // namespace wavefield::coordinator
