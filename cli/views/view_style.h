#pragma once

#include "absl/time/time.h"
#include "cli/views/format.h"

namespace wavefield {

// How a view is to look.
struct ViewStyle {
  absl::Time now;
  bool wide = false;     // all columns
  bool exact = false;    // times in UTC, not as "3 min ago"
  bool colors = false;   // with the terminal's escape sequences
  bool unicode = false;  // may draw with box characters

  std::string When(const google::protobuf::Timestamp& time) const {
    return exact ? FormatTime(time) : FormatMoment(time, now);
  }
};

}  // namespace wavefield
