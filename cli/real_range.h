#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/numbers.h"

namespace wavefield {

// A flag's value must be a number from `low` to `high`; unlike CLI::Range it refuses NaN.
inline CLI::Validator RealRange(double low, double high) {
  const std::string allowed = fmt::format("{} to {}", low, high);
  return CLI::Validator(
      [low, high, allowed](std::string& text) {
        double value;
        if (absl::SimpleAtod(text, &value) && value >= low && value <= high) return std::string();
        return fmt::format("is {}; allowed: {}", text, allowed);
      },
      allowed);
}

}  // namespace wavefield
