#include "cli/views/metric_series.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "core/base/suggest.h"

namespace wavefield {
namespace {

using v1::EvaluationResult;
using v1::StepMetrics;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

constexpr std::array<Metric, 14> kMetrics = {{
    {"loss", "loss, nats per token", [](const StepMetrics& s) { return s.loss(); }, nullptr},
    {"perplexity", "perplexity", [](const StepMetrics& s) { return s.perplexity(); }, nullptr},
    {"accuracy", "accuracy", [](const StepMetrics& s) { return s.accuracy(); }, nullptr},
    {"grad_norm", "gradient norm", [](const StepMetrics& s) { return s.grad_norm(); }, nullptr},
    {"learning_rate", "learning rate", [](const StepMetrics& s) { return s.learning_rate(); },
     nullptr},
    {"tokens_per_second", "tokens per second",
     [](const StepMetrics& s) { return s.tokens_per_second(); }, nullptr},
    {"step_seconds", "seconds per step", [](const StepMetrics& s) { return s.step_seconds(); },
     nullptr},
    {"matmul_rate_ratio", "model FLOP/s over those of a matrix product",
     [](const StepMetrics& s) { return s.matmul_rate_ratio(); }, nullptr},
    {"rank_skew_seconds", "slowest rank minus fastest, seconds",
     [](const StepMetrics& s) { return s.rank_skew_seconds(); }, nullptr},
    {"evaluation_loss", "held-out loss, nats per token", nullptr,
     [](const EvaluationResult& e) { return e.loss(); }},
    {"evaluation_perplexity", "held-out perplexity", nullptr,
     [](const EvaluationResult& e) { return e.perplexity(); }},
    {"evaluation_bits_per_byte", "held-out bits per byte", nullptr,
     [](const EvaluationResult& e) { return e.bits_per_byte(); }},
    {"evaluation_accuracy", "held-out accuracy", nullptr,
     [](const EvaluationResult& e) { return e.accuracy(); }},
    {"evaluation_ema_loss", "held-out loss of averaged weights, nats per token", nullptr,
     [](const EvaluationResult& e) { return e.has_ema_loss() ? e.ema_loss() : kNone; }},
}};

}  // namespace

std::span<const Metric> Metrics() { return kMetrics; }

absl::StatusOr<Metric> FindMetric(const std::string& name) {
  std::vector<std::string> known;
  for (const Metric& metric : kMetrics) {
    if (metric.name == name) return metric;
    known.emplace_back(metric.name);
  }
  const std::string nearest = SuggestNearest(name, known);
  return absl::InvalidArgumentError(fmt::format("'{}' is not a metric; {}known: {}", name,
                                                nearest.empty() ? "" : nearest + " ",
                                                fmt::join(known, ", ")));
}

void MetricCurve::Add(const v1::ListMetricsResponse& page) {
  if (metric_.of_step == nullptr) return AddEvaluations(page);
  for (const StepMetrics& step : page.steps()) {
    const double x = x_ == CurveX::kStep     ? static_cast<double>(step.step())
                     : x_ == CurveX::kTokens ? static_cast<double>(step.total_tokens())
                                             : step.trained_seconds();
    curve_.Add(step.step(), step.attempt(), {x, metric_.of_step(step)});
  }
}

void MetricCurve::AddEvaluations(const v1::ListMetricsResponse& page) {
  // An evaluation does not say how long was trained before it; its step does.
  std::map<std::pair<int64_t, int32_t>, double> trained_seconds;
  if (x_ == CurveX::kTime) {
    for (const StepMetrics& step : page.steps()) {
      trained_seconds[{step.step(), step.attempt()}] = step.trained_seconds();
    }
  }
  for (const EvaluationResult& evaluation : page.evaluations()) {
    double x = static_cast<double>(evaluation.step());
    if (x_ == CurveX::kTokens) {
      x *= static_cast<double>(training_.batch_size()) *
           static_cast<double>(training_.sequence_length());
    } else if (x_ == CurveX::kTime) {
      const auto step = trained_seconds.find({evaluation.step(), evaluation.attempt()});
      if (step == trained_seconds.end()) continue;
      x = step->second;
    }
    curve_.Add(evaluation.step(), evaluation.attempt(), {x, metric_.of_evaluation(evaluation)});
  }
}

std::string FinishXAxis(CurveX x, std::vector<ChartSeries>& series) {
  if (x == CurveX::kStep) return "optimizer steps";
  if (x == CurveX::kTokens) return "tokens";
  double longest = 0;
  for (const ChartSeries& one : series) {
    for (const ChartPoint& point : one.points) longest = std::max(longest, point.x);
  }
  const auto [unit, seconds] = longest > 2 * 86400.0 ? std::pair("days", 86400.0)
                               : longest > 2 * 3600  ? std::pair("hours", 3600.0)
                               : longest > 120       ? std::pair("minutes", 60.0)
                                                     : std::pair("seconds", 1.0);
  for (ChartSeries& one : series) {
    for (ChartPoint& point : one.points) point.x /= seconds;
  }
  return fmt::format("{} of training", unit);
}

}  // namespace wavefield
