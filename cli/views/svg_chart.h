#pragma once

#include <string>
#include <vector>

#include "cli/views/chart_series.h"

namespace wavefield {

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // x ascends
};

// Something that happened at an x: a vertical line.
struct ChartEvent {
  double x = 0;
  std::string label;
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  // Values of 0 and less are gaps.
  bool log_y = false;
  // Each series on top of those before it. REQUIRES then: all have the same x, no y below 0, and
  // not log_y.
  bool stacked = false;
  std::vector<ChartSeries> series;
  std::vector<ChartEvent> events;
};

enum class SvgUse {
  kFile,    // a document of its own, dark on white
  kInline,  // an element of an HTML page, in the page's text colour
};

// 760 × 400 pixels, and higher where the legend needs more than a row. Of each series at most 2,000
// points are drawn (Downsample()). Colours are told apart by people who do not see all of them;
// beyond seven series they come again, dashed.
std::string RenderSvg(const Chart& chart, SvgUse use);

// True where some series has a value that can be drawn.
bool HasValues(const Chart& chart);

}  // namespace wavefield
