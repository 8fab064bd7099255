#pragma once

#include <grpcpp/support/status.h>

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/session.h"

namespace wavefield {

// Called once per loss of the connection, with what went wrong.
using OnConnectionLost = std::function<void(const absl::Status&)>;

// When a stream that ended is to be taken up again: after what looks like a coordinator that stops
// or restarts, for a while, ever more slowly. Not thread-safe.
class Reconnection {
 public:
  // `reconnect_for`: how long to try to get a lost connection back; the first one is not retried.
  // `hint`: what to do later, for the error of giving up. `session` must outlive this.
  Reconnection(const Session& session, absl::Duration reconnect_for, std::string hint,
               OnConnectionLost on_lost = {});

  // The coordinator is there and things go on: a loss from now on is a new one.
  void Connected();
  // After a stream ended with `status`: OK, after a pause, when it is to be opened again; otherwise
  // why not.
  absl::Status AwaitRetry(const grpc::Status& status);

 private:
  const Session& session_;
  const absl::Duration reconnect_for_;
  const std::string hint_;
  const OnConnectionLost on_lost_;
  bool connected_once_ = false;
  absl::Duration lost_at_ = absl::InfiniteDuration();
  absl::Duration pause_;
};

}  // namespace wavefield
