#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/rpc/token_file.h"

namespace wavefield {

struct ConnectionOptions {
  std::string address = "localhost:7070";
  std::string ca_file;                  // PEM; empty: no TLS
  std::string token_file;               // as TokenFile::Read() takes it; empty: no token
  std::string client_certificate_file;  // PEM, for coordinators that ask for it; empty: none
  std::string client_key_file;          // PEM
};

// A way to a coordinator. Thread-safe.
class Connection {
 public:
  // Reads the files named in `options`; does not wait for the server. INVALID_ARGUMENT for what
  // CheckAddress() refuses, when a token would be sent without TLS to an address that is not this
  // machine's, for files that do not go together, and for a `ca_file` without a certificate. The
  // token file is read again whenever it has changed.
  static absl::StatusOr<Connection> Open(const ConnectionOptions& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& address() const { return address_; }
  bool tls() const { return tls_; }

  // Credentials and deadline of one call. absl::InfiniteDuration(): none, for watches.
  void Prepare(grpc::ClientContext& context, absl::Duration timeout) const;

 private:
  std::string address_;
  bool tls_ = false;
  std::shared_ptr<TokenFile> token_;  // null: none
  std::shared_ptr<grpc::Channel> channel_;
};

// Keepalive pings of clients are this far apart; servers allow no closer ones.
inline constexpr absl::Duration kKeepaliveInterval = absl::Seconds(20);
// Largest message either side accepts, bytes.
inline constexpr int kMaxMessageBytes = 8 << 20;

// INVALID_ARGUMENT for what is not "HOST:PORT" or "unix:PATH".
absl::Status CheckAddress(const std::string& address);
// True for localhost, 127.0.0.0/8, [::1] and unix: addresses, with or without a port.
bool IsLoopback(const std::string& address);

}  // namespace wavefield
