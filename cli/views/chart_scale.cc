#include "cli/views/chart_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace wavefield {
namespace {

// The least of 1, 2, 5 times a power of ten that is at least `least`.
double NiceStep(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1, 2, 5}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

// As many decimals as tell multiples of `step` apart; thousands and millions as k, M, G, T.
std::string Label(double value, double step, double largest) {
  if (value == 0) return "0";
  if (largest >= 1e15 || largest < 1e-3) return fmt::format("{:.4g}", value);
  const char* unit = "";
  double scale = 1;
  if (largest >= 1e4) {
    for (const char* next : {"k", "M", "G", "T"}) {
      if (largest < scale * 1e3) break;
      scale *= 1e3;
      unit = next;
    }
  }
  const int decimals =
      static_cast<int>(std::max(0.0, -std::floor(std::log10(step / scale) + 1e-9)));
  return fmt::format("{:.{}f}{}", value / scale, decimals, unit);
}

std::vector<Tick> LinearTicks(double low, double high, double step) {
  const double largest = std::max(std::abs(low), std::abs(high));
  std::vector<Tick> ticks;
  const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
  for (double i = first; i <= last; ++i)
    ticks.push_back({i * step, Label(i * step, step, largest)});
  return ticks;
}

}  // namespace

ChartScale ChartScale::Linear(double low, double high, int ticks, bool whole_ticks) {
  WF_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high && ticks >= 2);
  const double least_range = std::max({std::abs(low), std::abs(high), 1e-290}) * 1e-9;
  if (high - low < least_range) {
    const double middle = (low + high) / 2;
    const double margin = middle == 0 ? 1 : std::abs(middle) / 10;
    low = middle - margin;
    high = middle + margin;
  }
  const double step = NiceStep((high - low) / ticks);
  if (whole_ticks) {
    low = std::floor(low / step + 1e-9) * step;
    high = std::ceil(high / step - 1e-9) * step;
  }
  ChartScale scale(low, high, /*logarithmic=*/false);
  scale.ticks_ = LinearTicks(low, high, step);
  return scale;
}

ChartScale ChartScale::Logarithmic(double low, double high, int ticks) {
  WF_CHECK(low > 0 && low <= high && std::isfinite(high));
  if (high < 1.2 * low) {
    const double middle = std::sqrt(low) * std::sqrt(high);
    low = middle / 1.1;
    high = middle * 1.1;
  }
  const double decades = std::log10(high) - std::log10(low);
  ChartScale scale(low, high, /*logarithmic=*/true);
  if (decades < 1) {
    scale.ticks_ = LinearTicks(low, high, NiceStep((high - low) / ticks));
    return scale;
  }
  const std::vector<int> factors = decades <= 2 ? std::vector<int>{1, 2, 5} : std::vector<int>{1};
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / ticks)));
  const int first = static_cast<int>(std::floor(std::log10(low)));
  for (int power = first; power <= std::log10(high); power += stride) {
    for (const int factor : factors) {
      const double value = factor * std::pow(10, power);
      if (value < low * (1 - 1e-9) || value > high * (1 + 1e-9)) continue;
      scale.ticks_.push_back({value, Label(value, value, value)});
    }
  }
  return scale;
}

double ChartScale::Position(double value) const {
  if (logarithmic_) {
    return (std::log(value) - std::log(low_)) / (std::log(high_) - std::log(low_));
  }
  return (value - low_) / (high_ - low_);
}

}  // namespace wavefield
