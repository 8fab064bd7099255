#include "core/base/json_numbers.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace wavefield {
namespace {

template <typename T>
T Parse(const nlohmann::json& value) {
  if (!value.is_string()) return value.get<T>();
  const auto& text = value.get_ref<const std::string&>();
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::invalid_argument("'" + text.substr(0, 64) + "' is not a whole number");
  }
  return number;
}

}  // namespace

int64_t IntegerFromJson(const nlohmann::json& value) { return Parse<int64_t>(value); }

uint64_t UnsignedFromJson(const nlohmann::json& value) { return Parse<uint64_t>(value); }

double NumberFromJson(const nlohmann::json& value) {
  if (!value.is_string()) return value.get<double>();
  const auto& text = value.get_ref<const std::string&>();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  throw std::invalid_argument("'" + text.substr(0, 64) + "' is not a number");
}

nlohmann::json NumberToJson(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace wavefield
