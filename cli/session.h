#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/rpc/channel.h"

namespace wavefield {

// The flags that say where the coordinator is.
struct ConnectionFlags {
  ConnectionOptions options;  // what is empty comes from a profile, then from the defaults
  std::string profile;        // empty: the one in use
  bool use_profile = true;
  double timeout_seconds = 30;
};
void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags);

// The way to one coordinator, with errors that tell people what to do. Thread-safe.
class Session {
 public:
  // INVALID_ARGUMENT for an address without a port.
  static absl::StatusOr<Session> Open(const ConnectionFlags& flags);

  // A unary call: session.Call(&v1::JobService::Stub::GetJob, request).
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request) const {
    Stub stub(connection_.channel());
    grpc::ClientContext context;
    connection_.Prepare(context, timeout_);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return ToError(status);
    return response;
  }

  // For streams: credentials and no deadline.
  void PrepareStream(grpc::ClientContext& context) const {
    connection_.Prepare(context, absl::InfiniteDuration());
  }
  const std::shared_ptr<grpc::Channel>& channel() const { return connection_.channel(); }
  const std::string& address() const { return connection_.address(); }

  // The error with its details; one that no coordinator answers becomes UnreachableError().
  absl::Status ToError(const grpc::Status& status) const;

 private:
  Session(Connection connection, absl::Duration timeout)
      : connection_(std::move(connection)), timeout_(timeout) {}

  Connection connection_;
  absl::Duration timeout_;
};

// 128 random bits, hexadecimal: the request id of a call that may be repeated.
std::string NewRequestId();

}  // namespace wavefield
