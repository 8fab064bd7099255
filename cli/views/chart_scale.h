#pragma once

#include <string>
#include <vector>

namespace wavefield {

struct Tick {
  double value = 0;
  std::string label;
};

// Maps values to 0 … 1 along an axis, and says where its ticks are.
class ChartScale {
 public:
  // From `low` to `high`, widened to whole ticks if `whole_ticks`; ticks at multiples of 1, 2 or 5
  // times a power of ten, about `ticks` of them. REQUIRES: finite, low <= high, ticks >= 2.
  static ChartScale Linear(double low, double high, int ticks, bool whole_ticks);
  // Ticks at powers of ten, and between them where there are few. REQUIRES: 0 < low <= high.
  static ChartScale Logarithmic(double low, double high, int ticks);

  double Position(double value) const;
  const std::vector<Tick>& ticks() const { return ticks_; }

 private:
  ChartScale(double low, double high, bool logarithmic)
      : low_(low), high_(high), logarithmic_(logarithmic) {}

  double low_;
  double high_;
  bool logarithmic_;
  std::vector<Tick> ticks_;
};

}  // namespace wavefield
