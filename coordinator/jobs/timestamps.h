#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>

#include "absl/time/time.h"

namespace wavefield::coordinator {

inline google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t nanos = absl::ToUnixNanos(time);
  timestamp.set_seconds(nanos / 1'000'000'000);
  timestamp.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return timestamp;
}

inline absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

// To the millisecond, and at most the ten thousand years that such a message may hold.
inline google::protobuf::Duration ToProtoDuration(absl::Duration duration) {
  constexpr absl::Duration kMost = absl::Seconds(315'576'000'000);
  google::protobuf::Duration result;
  const int64_t milliseconds = absl::ToInt64Milliseconds(std::clamp(duration, -kMost, kMost));
  result.set_seconds(milliseconds / 1000);
  result.set_nanos(static_cast<int32_t>(milliseconds % 1000) * 1'000'000);
  return result;
}

}  // namespace wavefield::coordinator
