#include "cli/views/chart_series.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace wavefield {
namespace {

constexpr size_t kPointsOfBucket = 5;

using Iterator = std::vector<ChartPoint>::const_iterator;

// first, least, greatest, last and the first gap of [begin, end), in their order, each once.
void AppendExtremes(Iterator begin, Iterator end, std::vector<ChartPoint>& kept) {
  std::vector<Iterator> chosen = {begin, end - 1};
  Iterator least = end, greatest = end, gap = end;
  for (Iterator point = begin; point != end; ++point) {
    if (!std::isfinite(point->y)) {
      if (gap == end) gap = point;
      continue;
    }
    if (least == end || point->y < least->y) least = point;
    if (greatest == end || point->y > greatest->y) greatest = point;
  }
  for (const Iterator point : {least, greatest, gap}) {
    if (point != end) chosen.push_back(point);
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  for (const Iterator point : chosen) kept.push_back(*point);
}

}  // namespace

void LineageCurve::Add(int64_t step, int32_t attempt, ChartPoint point) {
  if (attempt < attempt_) return;
  if (step == step_) {
    points_.back() = point;
  } else {
    points_.push_back(point);
  }
  step_ = step;
  attempt_ = attempt;
}

std::vector<ChartPoint> Smooth(std::vector<ChartPoint> points, double factor) {
  WF_CHECK(factor >= 0 && factor < 1);
  if (factor == 0) return points;
  double mean = 0, weight = 0;
  for (ChartPoint& point : points) {
    if (!std::isfinite(point.y)) continue;
    mean = factor * mean + (1 - factor) * point.y;
    weight = factor * weight + (1 - factor);
    point.y = mean / weight;
  }
  return points;
}

std::vector<ChartPoint> Downsample(const std::vector<ChartPoint>& points, size_t max_points) {
  WF_CHECK(max_points >= kPointsOfBucket);
  if (points.size() <= max_points) return points;
  const size_t buckets = max_points / kPointsOfBucket;
  const double first = points.front().x;
  const double width = (points.back().x - first) / static_cast<double>(buckets);
  std::vector<ChartPoint> kept;
  Iterator begin = points.begin();
  for (size_t i = 1; i <= buckets && begin != points.end(); ++i) {
    const double limit = first + width * static_cast<double>(i);
    const Iterator end =
        i == buckets ? points.end()
                     : std::find_if(begin, points.end(),
                                    [&](const ChartPoint& point) { return point.x >= limit; });
    if (begin != end) AppendExtremes(begin, end, kept);
    begin = end;
  }
  return kept;
}

}  // namespace wavefield
