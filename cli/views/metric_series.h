#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/views/chart_series.h"
#include "cli/views/svg_chart.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// Something that history tells of steps or of evaluations: one of the two functions is set.
struct Metric {
  const char* name;   // as people type it: "evaluation_loss"
  const char* label;  // with its unit: "held-out loss, nats per token"
  double (*of_step)(const v1::StepMetrics&);
  double (*of_evaluation)(const v1::EvaluationResult&);
};
std::span<const Metric> Metrics();
// INVALID_ARGUMENT names the nearest, or all.
absl::StatusOr<Metric> FindMetric(const std::string& name);

enum class CurveX { kStep, kTokens, kTime };

// One metric of one job over steps, tokens trained on or seconds of training.
class MetricCurve {
 public:
  MetricCurve(const Metric& metric, CurveX x, const v1::JobSpec& spec)
      : metric_(metric), x_(x), training_(spec.training()) {}

  // REQUIRES: pages come in their order.
  void Add(const v1::ListMetricsResponse& page);
  const std::vector<ChartPoint>& points() const { return curve_.points(); }

 private:
  void AddEvaluations(const v1::ListMetricsResponse& page);

  Metric metric_;
  CurveX x_;
  v1::TrainingSpec training_;
  LineageCurve curve_;
};

// What the axis is called. Times are turned from seconds to the unit that suits the longest.
std::string FinishXAxis(CurveX x, std::vector<ChartSeries>& series);

}  // namespace wavefield
