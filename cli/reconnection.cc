#include "cli/reconnection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "cli/exit_code.h"
#include "cli/views/format.h"
#include "core/base/clock.h"

namespace wavefield {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);

// What a coordinator that stops or restarts under a stream looks like.
bool IsConnectionLoss(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:  // closed before its time
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::ABORTED:
      return true;
    default:
      return false;
  }
}

}  // namespace

Reconnection::Reconnection(const Session& session, absl::Duration reconnect_for, std::string hint,
                           OnConnectionLost on_lost)
    : session_(session),
      reconnect_for_(reconnect_for),
      hint_(std::move(hint)),
      on_lost_(std::move(on_lost)),
      pause_(kFirstPause) {}

void Reconnection::Connected() {
  connected_once_ = true;
  lost_at_ = absl::InfiniteDuration();
  pause_ = kFirstPause;
}

absl::Status Reconnection::AwaitRetry(const grpc::Status& status) {
  if (!IsConnectionLoss(status) || (!connected_once_ && !status.ok())) {
    return session_.ToError(status);
  }
  const std::string why =
      status.ok() ? "the coordinator closed the stream" : status.error_message();
  const absl::Duration now = Clock::Real().Monotonic();
  if (lost_at_ == absl::InfiniteDuration()) {
    lost_at_ = now;
    if (on_lost_) {
      on_lost_(status.ok() ? absl::UnavailableError(why) : session_.ToError(status));
    }
  }
  if (now - lost_at_ > reconnect_for_) {
    return UnreachableError(
        fmt::format("lost the coordinator at {} for more than {} ({}); {}", session_.address(),
                    FormatDuration(absl::ToDoubleSeconds(reconnect_for_)), why, hint_));
  }
  absl::SleepFor(pause_);
  pause_ = std::min(2 * pause_, kLongestPause);
  return absl::OkStatus();
}

}  // namespace wavefield
