#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace wavefield {

// Numbers as people read them. Values that are not finite are shown as "NaN", "Infinity" and
// "-Infinity" everywhere.

// "120us", "850ms", "12.3s", "4m12s", "1h02m", "3d04h"; "-" for a negative or non-finite duration.
std::string FormatDuration(double seconds);
// "512 B", "1.2 MiB".
std::string FormatBytes(double bytes);
// "2,719,752".
std::string FormatInteger(int64_t value);
// "870", "12.3k", "2.7M", "1.5G", "3.1T".
std::string FormatCompact(double value);
std::string FormatFixed(double value, int decimals);
// At most `digits` significant digits: "0.002", "1.2e-08".
std::string FormatSignificant(double value, int digits);
// "2025-01-31T12:00:00Z"; "-" when unset.
std::string FormatTime(const google::protobuf::Timestamp& time);
// "now", "12 s ago", "3 min ago", "in 2 h", "5 days ago"; "-" when unset.
std::string FormatMoment(const google::protobuf::Timestamp& time, absl::Time now);
// From `time` to `now`; "-" when unset.
std::string FormatAge(const google::protobuf::Timestamp& time, absl::Time now);

}  // namespace wavefield
