#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_file.h"
#include "cli/paging.h"
#include "cli/real_range.h"
#include "cli/resource_names.h"
#include "cli/views/metric_series.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int kMaxJobs = 32;
constexpr int kPageSize = 10000;

struct Flags {
  std::vector<std::string> jobs;
  std::string metric = "loss";
  CurveX x = CurveX::kStep;
  bool log_y = false;
  double smooth = 0;
  std::string output;
};

absl::StatusOr<ChartSeries> FetchSeries(const Session& session, const std::string& name,
                                        const Metric& metric, const Flags& flags) {
  v1::GetJobRequest get;
  get.set_name(name);
  WF_ASSIGN_OR_RETURN(const v1::Job job, session.Call(&v1::JobService::Stub::GetJob, get));
  v1::ListMetricsRequest list;
  list.set_parent(name);
  list.set_page_size(kPageSize);
  MetricCurve curve(metric, flags.x, job.spec());
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::JobService::Stub::ListMetrics, list,
                                 [&](const v1::ListMetricsResponse& page) { curve.Add(page); }));
  return ChartSeries{ResourceId(name), Smooth(curve.points(), flags.smooth)};
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Metric metric, FindMetric(flags.metric));
  std::vector<std::string> names;
  for (const std::string& job : flags.jobs) {
    WF_ASSIGN_OR_RETURN(names.emplace_back(), ParseJobName(job));
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  Chart chart{.title = metric.name, .y_label = metric.label, .log_y = flags.log_y};
  for (const std::string& name : names) {
    WF_ASSIGN_OR_RETURN(const ChartSeries series, FetchSeries(session, name, metric, flags));
    if (HasValues(Chart{.log_y = flags.log_y, .series = {series}})) {
      chart.series.push_back(series);
      continue;
    }
    fmt::print(stderr, "{} has no {}{} yet{}\n", name, flags.log_y ? "positive " : "", metric.name,
               metric.of_evaluation ? ": it comes with evaluations" : "");
  }
  if (chart.series.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("there is no {} to draw; nothing was written", metric.name));
  }
  chart.x_label = FinishXAxis(flags.x, chart.series);
  if (flags.smooth > 0) chart.title += fmt::format(", smoothed by {}", flags.smooth);
  WF_RETURN_IF_ERROR(WriteOutput(flags.output, RenderSvg(chart, SvgUse::kFile)));
  return kExitSuccess;
}

}  // namespace

void AddPlotCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("plot", "Draw a metric of jobs as an SVG file");
  std::vector<std::string> metrics;
  for (const Metric& metric : Metrics()) metrics.emplace_back(metric.name);
  command->add_option("JOB", flags->jobs, "one or more")->required()->expected(1, kMaxJobs);
  command->add_option("--metric", flags->metric, fmt::format("{}", fmt::join(metrics, ", ")))
      ->capture_default_str();
  const std::map<std::string, CurveX> axes = {
      {"step", CurveX::kStep}, {"tokens", CurveX::kTokens}, {"time", CurveX::kTime}};
  command
      ->add_option("--x", flags->x,
                   "over what: step (default), tokens trained on, or time of training")
      ->transform(CLI::CheckedTransformer(axes));
  command->add_flag("--log-y", flags->log_y, "logarithmic; values of 0 and less are gaps");
  command
      ->add_option("--smooth", flags->smooth,
                   "exponential mean, 0 (none) to below 1: the weight of what was before")
      ->check(RealRange(0, 0.9999));
  command->add_option("-o,--output", flags->output, "the file, replaced if there is one; -: stdout")
      ->required();
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
