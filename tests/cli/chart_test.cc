// Curves: which points, which ticks, where on the picture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <regex>
#include <set>

#include "cli/views/chart_scale.h"
#include "cli/views/chart_series.h"
#include "cli/views/markup.h"
#include "cli/views/metric_series.h"
#include "cli/views/svg_chart.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> Labels(const ChartScale& scale) {
  std::vector<std::string> labels;
  for (const Tick& tick : scale.ticks()) labels.push_back(tick.label);
  return labels;
}

std::vector<std::string> Paths(const std::string& svg) {
  static const std::regex pattern("<path class=\"series\" d=\"([^\"]*)\"");
  std::vector<std::string> paths;
  for (std::sregex_iterator match(svg.begin(), svg.end(), pattern), end; match != end; ++match) {
    paths.push_back((*match)[1]);
  }
  return paths;
}

TEST(ScaleTest, TicksAreRoundAndLabelsAsExactAsTheyMustBe) {
  EXPECT_THAT(Labels(ChartScale::Linear(0, 1, 5, true)),
              ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(Labels(ChartScale::Linear(3.81, 4.02, 4, false)), ElementsAre("3.9", "4.0"));
  EXPECT_THAT(Labels(ChartScale::Linear(0, 145, 6, false)), ElementsAre("0", "50", "100"));
  EXPECT_THAT(Labels(ChartScale::Linear(0, 2.5e6, 5, true)),
              ElementsAre("0", "0.5M", "1.0M", "1.5M", "2.0M", "2.5M"));
  EXPECT_THAT(Labels(ChartScale::Linear(-20000, 20000, 4, true)),
              ElementsAre("-20k", "-10k", "0", "10k", "20k"));
  EXPECT_THAT(Labels(ChartScale::Linear(0, 2e-5, 2, true)), ElementsAre("0", "1e-05", "2e-05"));
  EXPECT_THAT(Labels(ChartScale::Logarithmic(0.5, 2000, 6)), ElementsAre("1", "10", "100", "1000"));
  EXPECT_THAT(Labels(ChartScale::Logarithmic(1, 100, 6)),
              ElementsAre("1", "2", "5", "10", "20", "50", "100"));
  EXPECT_THAT(Labels(ChartScale::Logarithmic(3, 7, 4)), ElementsAre("3", "4", "5", "6", "7"));
}

TEST(ScaleTest, AnyRangeHasFewTicksInsideIt) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(-280, 280), unit(-1, 1);
  for (int i = 0; i < 2000; ++i) {
    double low = unit(random) * std::pow(10, exponent(random));
    double high = i % 5 == 0 ? low : unit(random) * std::pow(10, exponent(random));
    if (i % 7 == 0) high = low * (1 + 1e-14);
    if (low > high) std::swap(low, high);
    const ChartScale scale = ChartScale::Linear(low, high, 6, i % 2 == 0);
    EXPECT_GE(scale.ticks().size(), 2u) << low << " " << high;
    EXPECT_LE(scale.ticks().size(), 9u) << low << " " << high;
    for (const Tick& tick : scale.ticks()) {
      EXPECT_GE(scale.Position(tick.value), -1e-6);
      EXPECT_LE(scale.Position(tick.value), 1 + 1e-6);
    }
    EXPECT_GE(scale.Position(low), -1e-6);
    EXPECT_LE(scale.Position(high), 1 + 1e-6);
    if (low <= 0) continue;
    const ChartScale logarithmic = ChartScale::Logarithmic(low, high, 6);
    EXPECT_GE(logarithmic.ticks().size(), 1u) << low << " " << high;
    EXPECT_LE(logarithmic.ticks().size(), 12u) << low << " " << high;
  }
}

TEST(SeriesTest, DownsamplingKeepsExtremesEndsAndGaps) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::vector<ChartPoint> points;
  for (int i = 0; i < 100000; ++i) points.push_back({double(i), double(random() % 1000)});
  points[random() % points.size()].y = 5000;
  points[random() % points.size()].y = -5000;
  points[5 + random() % 1000].y = kNan;
  const std::vector<ChartPoint> kept = Downsample(points, 500);
  EXPECT_LE(kept.size(), 500u);
  EXPECT_GE(kept.size(), 300u);
  EXPECT_EQ(kept.front(), points.front());
  EXPECT_EQ(kept.back(), points.back());
  double low = 0, high = 0, last = -1;
  bool gap = false;
  for (const ChartPoint& point : kept) {
    EXPECT_GT(point.x, last);
    last = point.x;
    gap = gap || std::isnan(point.y);
    if (!std::isnan(point.y)) {
      EXPECT_EQ(point, points[static_cast<size_t>(point.x)]);
    }
    low = std::fmin(low, point.y);
    high = std::fmax(high, point.y);
  }
  EXPECT_EQ(low, -5000);
  EXPECT_EQ(high, 5000);
  EXPECT_TRUE(gap);
  EXPECT_EQ(Downsample({{1, 2}, {2, 3}}, 500).size(), 2u);
}

TEST(SeriesTest, SmoothingIsAMeanWithoutBiasThatPassesOverGaps) {
  const auto smooth = Smooth({{0, 4}, {1, kNan}, {2, 4}, {3, 8}}, 0.5);
  EXPECT_DOUBLE_EQ(smooth[0].y, 4);
  EXPECT_TRUE(std::isnan(smooth[1].y));
  EXPECT_DOUBLE_EQ(smooth[2].y, 4);
  EXPECT_DOUBLE_EQ(smooth[3].y, (0.5 * 8 + 0.25 * 4 + 0.125 * 4) / 0.875);
  EXPECT_EQ(Smooth({{0, 4}, {1, 8}}, 0)[1].y, 8);
}

TEST(SeriesTest, ACurveFollowsTheAttemptsThatLedToThePresentWeights) {
  LineageCurve curve;
  // Attempt 1 did steps 1 to 4; attempt 2 took over at 3 and is at 3 now.
  curve.Add(1, 1, {1, 10});
  curve.Add(2, 1, {2, 20});
  curve.Add(3, 1, {3, 30});
  curve.Add(3, 2, {3, 31});
  curve.Add(4, 1, {4, 40});
  EXPECT_THAT(curve.points(), ElementsAre(ChartPoint{1, 10}, ChartPoint{2, 20}, ChartPoint{3, 31}));
}

TEST(SvgTest, CurvesStandWhereTheAxesSay) {
  Chart chart{.title = "t", .x_label = "x", .y_label = "y"};
  chart.series = {{"a", {{0, 0}, {5, 10}, {10, 5}}}};
  const std::string svg = RenderSvg(chart, SvgUse::kFile);
  // The area is x 72 to 740, y 48 (10) to 348 (0).
  EXPECT_THAT(Paths(svg), ElementsAre("M72.0 348.0L406.0 48.0L740.0 198.0"));
  EXPECT_THAT(svg, HasSubstr("<text x=\"72.0\" y=\"367.0\" text-anchor=\"middle\">0</text>"));
  EXPECT_THAT(svg, HasSubstr("<text x=\"740.0\" y=\"367.0\" text-anchor=\"middle\">10</text>"));
  EXPECT_THAT(svg, HasSubstr("<text x=\"64.0\" y=\"52.0\" text-anchor=\"end\">10</text>"));
  EXPECT_THAT(svg, HasSubstr("cx=\"406.0\" cy=\"48.0\""));
}

TEST(SvgTest, WhatIsNotFiniteIsAGapAndAPointAloneADot) {
  Chart chart{.title = "t"};
  chart.series = {{"a", {{0, 1}, {1, 2}, {2, kNan}, {3, 1}, {4, HUGE_VAL}, {5, 2}, {10, 1}}}};
  const std::string path = Paths(RenderSvg(chart, SvgUse::kInline))[0];
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 3) << path;
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 2) << path;
  EXPECT_THAT(path, HasSubstr("h0"));
  EXPECT_THAT(path, Not(HasSubstr("nan")));
}

TEST(SvgTest, ALogarithmicAxisSpacesDecadesAlikeAndLeavesOutWhatIsNotPositive) {
  Chart chart{.title = "t", .log_y = true};
  chart.series = {{"a", {{0, 1}, {1, 10}, {2, 100}, {3, 0}}}};
  EXPECT_THAT(Paths(RenderSvg(chart, SvgUse::kInline)),
              ElementsAre("M72.0 348.0L294.7 198.0L517.3 48.0"));
  chart.series = {{"a", {{0, -1}}}};
  EXPECT_FALSE(HasValues(chart));
  EXPECT_THAT(RenderSvg(chart, SvgUse::kInline), HasSubstr("no values"));
}

TEST(SvgTest, StackedAreasStandOnEachOther) {
  Chart chart{.title = "t", .stacked = true};
  chart.series = {{"a", {{0, 1}, {1, 1}}}, {"b", {{0, 1}, {1, 0}}}};
  EXPECT_THAT(Paths(RenderSvg(chart, SvgUse::kInline)),
              ElementsAre("M72.0 198.0L740.0 198.0L740.0 348.0L72.0 348.0Z",
                          "M72.0 48.0L740.0 198.0L740.0 198.0L72.0 198.0Z"));
}

TEST(SvgTest, ManySeriesAreToldApartAndTheLegendMakesRoom) {
  Chart chart{.title = "t"};
  for (int i = 0; i < 32; ++i) {
    chart.series.push_back({"a-name-that-is-long-" + std::to_string(i), {{0, double(i)}, {1, 0}}});
  }
  const std::string svg = RenderSvg(chart, SvgUse::kFile);
  EXPECT_EQ(Paths(svg).size(), 32u);
  static const std::regex style(
      "stroke=\"(#[0-9a-f]+)\" stroke-width=\"1.6\"[^>]*?"
      "stroke-linecap=\"round\"(| stroke-dasharray=\"[^\"]*\")>");
  std::set<std::string> styles;
  for (std::sregex_iterator match(svg.begin(), svg.end(), style), end; match != end; ++match) {
    styles.insert((*match)[1].str() + (*match)[2].str());
  }
  EXPECT_EQ(styles.size(), 32u);
  EXPECT_THAT(svg, Not(HasSubstr("height=\"400\"")));
}

TEST(SvgTest, TextIsEscaped) {
  EXPECT_EQ(EscapeMarkup("<a b=\"c\">&'\x01\n"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\xEF\xBF\xBD\n");
  Chart chart{.title = "<script>", .x_label = "<x>", .y_label = "\"y\""};
  chart.series = {{"</svg>", {{0, 1}, {1, 2}}}};
  chart.events = {{0.5, "<event>"}};
  const std::string svg = RenderSvg(chart, SvgUse::kInline);
  for (const char* raw : {"<script>", "<x>", "<event>", "></svg><"}) {
    EXPECT_THAT(svg, Not(HasSubstr(raw)));
  }
  EXPECT_THAT(svg, HasSubstr("&lt;event&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("//"))) << "a page has it inline, and refers to nothing";
}

TEST(MetricTest, NamesAreSuggestedAndAllAreNamed) {
  EXPECT_EQ(FindMetric("grad_norm")->name, std::string("grad_norm"));
  const std::string error(FindMetric("lose").status().message());
  EXPECT_THAT(error, HasSubstr("did you mean 'loss'"));
  EXPECT_THAT(error, HasSubstr("evaluation_bits_per_byte"));
}

TEST(MetricTest, CurvesRunOverStepsTokensOrTime) {
  v1::JobSpec spec;
  spec.mutable_training()->set_batch_size(2);
  spec.mutable_training()->set_sequence_length(50);
  v1::ListMetricsResponse page;
  for (int i = 1; i <= 2; ++i) {
    v1::StepMetrics& step = *page.add_steps();
    step.set_step(i);
    step.set_attempt(1);
    step.set_loss(10 - i);
    step.set_total_tokens(100 * i);
    step.set_trained_seconds(150.0 * i);
  }
  v1::EvaluationResult& evaluation = *page.add_evaluations();
  evaluation.set_step(2);
  evaluation.set_attempt(1);
  evaluation.set_loss(4);
  const auto points = [&](const char* metric, CurveX x) {
    MetricCurve curve(*FindMetric(metric), x, spec);
    curve.Add(page);
    return curve.points();
  };
  EXPECT_THAT(points("loss", CurveX::kStep), ElementsAre(ChartPoint{1, 9}, ChartPoint{2, 8}));
  EXPECT_THAT(points("loss", CurveX::kTokens), ElementsAre(ChartPoint{100, 9}, ChartPoint{200, 8}));
  EXPECT_THAT(points("loss", CurveX::kTime), ElementsAre(ChartPoint{150, 9}, ChartPoint{300, 8}));
  EXPECT_THAT(points("evaluation_loss", CurveX::kStep), ElementsAre(ChartPoint{2, 4}));
  EXPECT_THAT(points("evaluation_loss", CurveX::kTokens), ElementsAre(ChartPoint{200, 4}));
  EXPECT_THAT(points("evaluation_loss", CurveX::kTime), ElementsAre(ChartPoint{300, 4}));

  std::vector<ChartSeries> series = {{"a", points("loss", CurveX::kTime)}};
  EXPECT_EQ(FinishXAxis(CurveX::kTime, series), "minutes of training");
  EXPECT_DOUBLE_EQ(series[0].points[1].x, 5);
}

}  // namespace
}  // namespace wavefield
