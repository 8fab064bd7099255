#include "cli/views/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/views/metric_series.h"
#include "cli/views/svg_chart.h"
#include "core/base/check.h"

namespace wavefield {
namespace {

// Of phases, which come in areas, a mean over so many ranges of steps is enough.
constexpr int kPhaseColumns = 240;

struct Curve {
  const char* metric;
  const char* name;
};

struct Figure {
  const char* id;
  const char* title;
  const char* y_label;
  bool log_y;
  std::vector<Curve> curves;
};

const std::vector<Figure>& Figures() {
  static const auto& figures = *new std::vector<Figure>{
      {"loss",
       "Loss",
       "nats per token",
       false,
       {{"loss", "training"},
        {"evaluation_loss", "held out"},
        {"evaluation_ema_loss", "held out, averaged weights"}}},
      {"accuracy",
       "Accuracy",
       "share of positions",
       false,
       {{"accuracy", "training"}, {"evaluation_accuracy", "held out"}}},
      {"bits-per-byte",
       "Held-out bits per byte",
       "bits",
       false,
       {{"evaluation_bits_per_byte", "held out"}}},
      {"speed",
       "Tokens per second",
       "tokens per second",
       false,
       {{"tokens_per_second", "all ranks"}}},
      {"grad-norm", "Gradient norm before clipping", "2-norm", true, {{"grad_norm", "norm"}}},
      {"learning-rate", "Learning rate", "", false, {{"learning_rate", "rate"}}},
      {"rank-skew",
       "Slowest rank minus fastest",
       "seconds",
       false,
       {{"rank_skew_seconds", "skew"}}},
  };
  return figures;
}

// Where attempts after the first began.
std::vector<ChartEvent> Restarts(const v1::ListMetricsResponse& history) {
  std::vector<ChartEvent> restarts;
  int32_t attempt = 1;
  for (const v1::StepMetrics& step : history.steps()) {
    if (step.attempt() <= attempt) continue;
    attempt = step.attempt();
    restarts.push_back(
        {static_cast<double>(step.step()), fmt::format("attempt {} began here", attempt)});
  }
  return restarts;
}

Chart PhaseChart(const v1::ListMetricsResponse& history) {
  Chart chart{.title = "Time of a step by phase", .y_label = "seconds", .stacked = true};
  const google::protobuf::Descriptor& phases = *v1::PhaseSeconds::descriptor();
  const int columns = std::min(kPhaseColumns, history.steps_size());
  for (int phase = 0; phase < phases.field_count(); ++phase) {
    ChartSeries& series = chart.series.emplace_back();
    series.name = phases.field(phase)->name();
    for (int column = 0; column < columns; ++column) {
      const auto at = [&](int i) {
        return static_cast<int>(int64_t{i} * history.steps_size() / columns);
      };
      double sum = 0;
      for (int i = at(column); i < at(column + 1); ++i) {
        const v1::PhaseSeconds& seconds = history.steps(i).phase_seconds();
        sum += seconds.GetReflection()->GetDouble(seconds, phases.field(phase));
      }
      series.points.push_back({static_cast<double>(history.steps(at(column)).step()),
                               sum / (at(column + 1) - at(column))});
    }
  }
  return chart;
}

std::string RenderFigure(const std::string& id, Chart& chart,
                         const v1::ListMetricsResponse& history) {
  if (!HasValues(chart)) return "";
  chart.x_label = "optimizer steps";
  chart.events = Restarts(history);
  return fmt::format("<figure id=\"chart-{}\">\n{}</figure>\n", id,
                     RenderSvg(chart, SvgUse::kInline));
}

}  // namespace

std::string RenderReportCharts(const ReportData& data) {
  std::string html;
  for (const Figure& figure : Figures()) {
    if (std::string(figure.id) == "rank-skew" && data.job.spec().resources().world_size() < 2) {
      continue;
    }
    Chart chart{.title = figure.title, .y_label = figure.y_label, .log_y = figure.log_y};
    for (const Curve& curve : figure.curves) {
      const absl::StatusOr<Metric> metric = FindMetric(curve.metric);
      WF_CHECK(metric.ok());
      MetricCurve values(*metric, CurveX::kStep, data.job.spec());
      values.Add(data.history);
      ChartSeries series{curve.name, values.points()};
      if (HasValues(Chart{.series = {series}})) chart.series.push_back(std::move(series));
    }
    html += RenderFigure(figure.id, chart, data.history);
  }
  Chart phases = PhaseChart(data.history);
  html += RenderFigure("phases", phases, data.history);
  return html.empty() ? "" : "<div class=\"figures\">\n" + html + "</div>\n";
}

}  // namespace wavefield
