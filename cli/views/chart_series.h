#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wavefield {

struct ChartPoint {
  double x = 0;
  double y = 0;  // not finite: a gap
  friend bool operator==(const ChartPoint&, const ChartPoint&) = default;
};

// The points of the steps that led to a job's present weights: of a step that several attempts did
// the last one's, and nothing of what an attempt did beyond the point where a later one took over.
class LineageCurve {
 public:
  // REQUIRES: in ascending order of (step, attempt), as the API lists them.
  void Add(int64_t step, int32_t attempt, ChartPoint point);
  const std::vector<ChartPoint>& points() const { return points_; }

 private:
  std::vector<ChartPoint> points_;
  int64_t step_ = -1;
  int32_t attempt_ = 0;
};

// The exponential mean of y, each point weighing 1 − factor, without bias at the start; gaps stay
// gaps and weigh nothing. 0 changes nothing. REQUIRES: 0 <= factor < 1.
std::vector<ChartPoint> Smooth(std::vector<ChartPoint> points, double factor);

// At most `max_points` of the points: of each of equal ranges of x the first, the least, the
// greatest and the last y, and a gap where it has one. REQUIRES: x ascends; max_points >= 5.
std::vector<ChartPoint> Downsample(const std::vector<ChartPoint>& points, size_t max_points);

}  // namespace wavefield
