#include "coordinator/rpc/page_order.h"

#include <fmt/format.h>

#include <charconv>

#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

absl::StatusOr<PageOrder> PageOrder::Parse(const std::string& text,
                                           const std::vector<std::string>& fields) {
  PageOrder order;
  WF_ASSIGN_OR_RETURN(order.order_, ListOrder::Parse(text, "create_time desc", fields));
  return order;
}

PagePosition PageOrder::PositionOf(const FilterLookup& lookup, int64_t revision) const {
  if (order_.field == "create_time") return {static_cast<double>(revision), revision};
  return {lookup(order_.field), revision};
}

bool PageOrder::Before(const PagePosition& a, const PagePosition& b) const {
  if (order_.Before(a.value, b.value)) return true;
  if (order_.Before(b.value, a.value)) return false;
  return a.revision > b.revision;
}

std::string PrintPosition(const PagePosition& position) {
  std::string text = std::to_string(position.revision);
  if (const double* number = std::get_if<double>(&position.value)) {
    text += fmt::format(",n{}", *number);
  } else if (const absl::Time* time = std::get_if<absl::Time>(&position.value)) {
    text += fmt::format(",d{}", absl::ToUnixNanos(*time));
  } else if (const std::string* value = std::get_if<std::string>(&position.value)) {
    text += ",t" + *value;
  }
  return text;
}

absl::StatusOr<PagePosition> ParsePosition(const std::string& text) {
  PagePosition position;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, position.revision);
  if (error != std::errc()) return NotGivenOut();
  if (rest == end) return position;
  if (*rest != ',' || end - rest < 2) return NotGivenOut();
  const char* value = rest + 2;
  std::from_chars_result read{end, std::errc()};
  if (rest[1] == 'n') {
    double number = 0;
    read = std::from_chars(value, end, number);
    position.value = number;
  } else if (rest[1] == 'd') {
    int64_t nanoseconds = 0;
    read = std::from_chars(value, end, nanoseconds);
    position.value = absl::FromUnixNanos(nanoseconds);
  } else {
    position.value = std::string(value, end);
  }
  if (read.ec != std::errc() || read.ptr != end) return NotGivenOut();
  return position;
}

}  // namespace wavefield::coordinator
