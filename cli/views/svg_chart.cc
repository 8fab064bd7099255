#include "cli/views/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "cli/views/chart_scale.h"
#include "cli/views/format.h"
#include "cli/views/markup.h"

namespace wavefield {
namespace {

constexpr double kWidth = 760, kHeight = 400;  // with one row of legend
constexpr double kLeft = 72, kRight = 20, kTop = 36, kBottom = 52;
constexpr double kLegendRow = 18, kLetter = 7.2;
constexpr size_t kMaxPoints = 2000;
// Curves of few points show each of them.
constexpr size_t kMaxMarks = 60;
constexpr int kTicks = 6;
constexpr double kLargest = 1e290;

// Okabe and Ito's, without black and yellow.
constexpr std::array kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                "#e69f00", "#56b4e9", "#888888"};
constexpr std::array kDashes = {"", "6 3", "2 3", "9 3 2 3", "1 5"};

std::string Color(size_t i) { return kColors[i % kColors.size()]; }

std::string Dash(size_t i) {
  const std::string dash = kDashes[i / kColors.size() % kDashes.size()];
  return dash.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dash);
}

bool CanBeDrawn(const Chart& chart, double y) {
  return std::isfinite(y) && std::abs(y) < kLargest && (!chart.log_y || y > 0);
}

// Series as they are drawn: fewer points, stacked ones summed.
std::vector<ChartSeries> Prepare(const Chart& chart) {
  std::vector<ChartSeries> series;
  for (const ChartSeries& given : chart.series) {
    series.push_back({given.name, given.points});
    std::vector<ChartPoint>& points = series.back().points;
    std::erase_if(points, [](const ChartPoint& point) { return !std::isfinite(point.x); });
    for (ChartPoint& point : points) {
      if (!CanBeDrawn(chart, point.y)) point.y = std::numeric_limits<double>::quiet_NaN();
    }
    if (!chart.stacked) {
      points = Downsample(points, kMaxPoints);
    } else if (series.size() > 1) {
      const std::vector<ChartPoint>& below = series[series.size() - 2].points;
      for (size_t i = 0; i < points.size(); ++i) points[i].y += below[i].y;
    }
  }
  return series;
}

struct Bounds {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void Include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// The drawing area and its axes.
class Canvas {
 public:
  Canvas(const Chart& chart, const std::vector<ChartSeries>& series, double top, double height)
      : top_(top), height_(height), x_(XScale(series)), y_(YScale(chart, series)) {}

  double X(double x) const { return kLeft + x_.Position(x) * (kWidth - kLeft - kRight); }
  double Y(double y) const { return bottom() - y_.Position(y) * (bottom() - top_); }
  double top() const { return top_; }
  double bottom() const { return height_ - kBottom; }
  double height() const { return height_; }
  const ChartScale& x_scale() const { return x_; }
  const ChartScale& y_scale() const { return y_; }

 private:
  static ChartScale XScale(const std::vector<ChartSeries>& series) {
    Bounds bounds;
    for (const ChartSeries& one : series) {
      for (const ChartPoint& point : one.points) bounds.Include(point.x);
    }
    return ChartScale::Linear(bounds.low, bounds.high, kTicks, /*whole_ticks=*/false);
  }
  static ChartScale YScale(const Chart& chart, const std::vector<ChartSeries>& series) {
    Bounds bounds;
    if (chart.stacked) bounds.Include(0);
    for (const ChartSeries& one : series) {
      for (const ChartPoint& point : one.points) {
        if (std::isfinite(point.y)) bounds.Include(point.y);
      }
    }
    return chart.log_y ? ChartScale::Logarithmic(bounds.low, bounds.high, kTicks)
                       : ChartScale::Linear(bounds.low, bounds.high, kTicks, /*whole_ticks=*/true);
  }

  double top_;
  double height_;
  ChartScale x_;
  ChartScale y_;
};

std::string Text(double x, double y, const std::string& anchor, const std::string& text,
                 const std::string& attributes = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, attributes, EscapeMarkup(text));
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"{}/>\n", x1, y1, x2, y2, attributes);
}

std::string RenderAxes(const Chart& chart, const Canvas& canvas) {
  std::string svg = "<g class=\"axes\" stroke-opacity=\"0.18\" stroke=\"currentColor\">\n";
  std::string labels = "<g class=\"ticks\" font-size=\"12\" fill=\"currentColor\">\n";
  for (const Tick& tick : canvas.y_scale().ticks()) {
    const double y = canvas.Y(tick.value);
    svg += Line(kLeft, y, kWidth - kRight, y, "");
    labels += Text(kLeft - 8, y + 4, "end", tick.label);
  }
  for (const Tick& tick : canvas.x_scale().ticks()) {
    const double x = canvas.X(tick.value);
    svg += Line(x, canvas.bottom(), x, canvas.bottom() + 5, "");
    labels += Text(x, canvas.bottom() + 19, "middle", tick.label);
  }
  for (const ChartEvent& event : chart.events) {
    const double x = canvas.X(event.x);
    if (!(x >= kLeft && x <= kWidth - kRight)) continue;
    svg += fmt::format(
        "<path class=\"event\" d=\"M{:.1f} {:.1f}V{:.1f}\" stroke-opacity=\"0.6\" "
        "stroke-dasharray=\"3 3\"><title>{}</title></path>\n",
        x, canvas.top(), canvas.bottom(), EscapeMarkup(event.label));
  }
  const double middle = (canvas.top() + canvas.bottom()) / 2;
  labels += Text((kLeft + kWidth - kRight) / 2, canvas.height() - 12, "middle", chart.x_label);
  labels += Text(0, 0, "middle", chart.y_label,
                 fmt::format(" transform=\"translate(16 {:.1f}) rotate(-90)\"", middle));
  return svg + "</g>\n" + labels + "</g>\n";
}

// Lines between points that follow each other without a gap; a point alone is a dot.
std::string CurvePath(const ChartSeries& series, const Canvas& canvas) {
  std::string path;
  for (size_t i = 0; i < series.points.size(); ++i) {
    const ChartPoint& point = series.points[i];
    if (!std::isfinite(point.y)) continue;
    const bool follows = i > 0 && std::isfinite(series.points[i - 1].y);
    const bool followed = i + 1 < series.points.size() && std::isfinite(series.points[i + 1].y);
    path +=
        fmt::format("{}{:.1f} {:.1f}", follows ? 'L' : 'M', canvas.X(point.x), canvas.Y(point.y));
    if (!follows && !followed) path += "h0";
  }
  return path;
}

// Between a stacked series and the one below it, where both have values.
std::string AreaPath(const ChartSeries& series, const ChartSeries* below, const Canvas& canvas) {
  std::string upper, lower;
  for (size_t i = 0; i < series.points.size(); ++i) {
    const ChartPoint& point = series.points[i];
    const double floor = below ? below->points[i].y : 0;
    if (!std::isfinite(point.y) || !std::isfinite(floor)) continue;
    const double x = canvas.X(point.x);
    upper += fmt::format("{}{:.1f} {:.1f}", upper.empty() ? 'M' : 'L', x, canvas.Y(point.y));
    lower = fmt::format("L{:.1f} {:.1f}", x, canvas.Y(floor)) + lower;
  }
  return upper.empty() ? "" : upper + lower + "Z";
}

std::string RenderArea(const std::vector<ChartSeries>& series, size_t i, const Canvas& canvas) {
  return fmt::format("<path class=\"series\" d=\"{}\" fill=\"{}\"><title>{}</title></path>\n",
                     AreaPath(series[i], i > 0 ? &series[i - 1] : nullptr, canvas), Color(i),
                     EscapeMarkup(series[i].name));
}

std::string RenderCurve(const ChartSeries& series, size_t i, const Canvas& canvas) {
  std::string svg = fmt::format(
      "<path class=\"series\" d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" "
      "stroke-linejoin=\"round\" stroke-linecap=\"round\"{}><title>{}</title></path>\n",
      CurvePath(series, canvas), Color(i), Dash(i), EscapeMarkup(series.name));
  if (series.points.size() > kMaxMarks) return svg;
  for (const ChartPoint& point : series.points) {
    if (!std::isfinite(point.y)) continue;
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\" fill=\"{}\"><title>{}: {} at "
        "{}</title></circle>\n",
        canvas.X(point.x), canvas.Y(point.y), Color(i), EscapeMarkup(series.name),
        FormatSignificant(point.y, 6), FormatSignificant(point.x, 8));
  }
  return svg;
}

// Names with a mark of their colour; `bottom` is that of the last row.
std::string RenderLegend(const Chart& chart, double& bottom) {
  std::string svg = "<g class=\"legend\" font-size=\"12\" fill=\"currentColor\">\n";
  double x = kLeft, y = kTop;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const std::string& name = chart.series[i].name;
    const double width = 30 + kLetter * static_cast<double>(name.size());
    if (x > kLeft && x + width > kWidth - kRight) {
      x = kLeft;
      y += kLegendRow;
    }
    svg += Line(x, y - 4, x + 18, y - 4,
                fmt::format(" stroke=\"{}\" stroke-width=\"{}\"{}", Color(i),
                            chart.stacked ? 10 : 3, Dash(i)));
    svg += Text(x + 24, y, "start", name);
    x += width + 10;
  }
  bottom = y;
  return svg + "</g>\n";
}

}  // namespace

bool HasValues(const Chart& chart) {
  return std::any_of(chart.series.begin(), chart.series.end(), [&](const ChartSeries& series) {
    return std::any_of(series.points.begin(), series.points.end(), [&](const ChartPoint& point) {
      return std::isfinite(point.x) && CanBeDrawn(chart, point.y);
    });
  });
}

std::string RenderSvg(const Chart& chart, SvgUse use) {
  double legend_bottom = 0;
  const std::string legend = RenderLegend(chart, legend_bottom);
  const double height = kHeight + legend_bottom - kTop;
  const std::string document = fmt::format(
      " xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
      "color=\"#222222\"",
      kWidth, height);
  std::string svg = fmt::format(
      "<svg class=\"chart\"{} viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" "
      "font-family=\"system-ui, sans-serif\">\n",
      use == SvgUse::kFile ? document : "", kWidth, height, EscapeMarkup(chart.title));
  if (use == SvgUse::kFile) {
    svg += fmt::format("<rect width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n", kWidth, height);
  }
  svg += Text(kLeft, 18, "start", chart.title,
              " font-size=\"14\" font-weight=\"600\" fill=\"currentColor\"");
  if (!HasValues(chart)) {
    return svg + Text(kWidth / 2, height / 2, "middle", "no values", " fill=\"currentColor\"") +
           "</svg>\n";
  }
  const std::vector<ChartSeries> series = Prepare(chart);
  const Canvas canvas(chart, series, legend_bottom + 12, height);
  svg += legend + RenderAxes(chart, canvas);
  for (size_t i = 0; i < series.size(); ++i) {
    svg += chart.stacked ? RenderArea(series, i, canvas) : RenderCurve(series[i], i, canvas);
  }
  return svg + "</svg>\n";
}

}  // namespace wavefield
