#include "cli/views/format.h"

#include <fmt/format.h>

#include <cmath>

namespace wavefield {
namespace {

std::string NonFinite(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

bool IsSet(const google::protobuf::Timestamp& time) { return time.seconds() || time.nanos(); }

}  // namespace

std::string FormatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e15) return "-";
  if (seconds > 0 && seconds < 0.0009995) return fmt::format("{:.0f}us", seconds * 1e6);
  if (seconds < 0.9995) return fmt::format("{:.0f}ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f}s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  return fmt::format("{}d{:02}h", whole / 86400, whole / 3600 % 24);
}

std::string FormatBytes(double bytes) {
  if (!std::isfinite(bytes)) return NonFinite(bytes);
  if (std::abs(bytes) < 1024) return fmt::format("{:.0f} B", bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB", "PiB"}) {
    if (std::abs(bytes) < 1023.95) break;
    bytes /= 1024;
    unit = next;
  }
  return fmt::format("{:.1f} {}", bytes, unit);
}

std::string FormatInteger(int64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && grouped != "-") grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string FormatCompact(double value) {
  if (!std::isfinite(value)) return NonFinite(value);
  if (std::abs(value) < 999.5) return fmt::format("{:.0f}", value);
  constexpr char kUnits[] = "kMGT";
  value /= 1000;
  size_t unit = 0;
  for (; std::abs(value) >= 999.95 && unit + 2 < sizeof(kUnits); ++unit) value /= 1000;
  return fmt::format("{:.1f}{}", value, kUnits[unit]);
}

std::string FormatFixed(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : NonFinite(value);
}

std::string FormatSignificant(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}g}", value, digits) : NonFinite(value);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (!IsSet(time)) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", ToTime(time), absl::UTCTimeZone());
}

std::string FormatMoment(const google::protobuf::Timestamp& time, absl::Time now) {
  if (!IsSet(time)) return "-";
  const absl::Duration distance = ToTime(time) - now;
  const int64_t seconds = absl::ToInt64Seconds(absl::AbsDuration(distance));
  const auto text = [&] {
    if (seconds < 60) return fmt::format("{} s", seconds);
    if (seconds < 3600) return fmt::format("{} min", seconds / 60);
    if (seconds < 86400) return fmt::format("{} h", seconds / 3600);
    return fmt::format("{} day{}", seconds / 86400, seconds < 2 * 86400 ? "" : "s");
  };
  if (seconds == 0) return "now";
  return distance < absl::ZeroDuration() ? text() + " ago" : "in " + text();
}

std::string FormatAge(const google::protobuf::Timestamp& time, absl::Time now) {
  if (!IsSet(time)) return "-";
  return FormatDuration(std::max(0.0, absl::ToDoubleSeconds(now - ToTime(time))));
}

}  // namespace wavefield
