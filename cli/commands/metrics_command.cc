#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/field_health_view.h"
#include "cli/format.h"
#include "cli/job_view.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int kPageSize = 10000;

struct Flags {
  std::string job;
  int stride = 1;
  int64_t after_step = 0;
  bool csv = false;
  bool json = false;
  bool health = false;
};

std::string FormatTable(const v1::ListMetricsResponse& history) {
  Table table({{"STEP", Align::kRight},
               {"ATTEMPT", Align::kRight},
               {"LOSS", Align::kRight},
               {"PERPLEXITY", Align::kRight},
               {"GRAD NORM", Align::kRight},
               {"LEARNING RATE", Align::kRight},
               {"TOKENS/S", Align::kRight},
               {"STEP TIME", Align::kRight},
               {"RATE RATIO", Align::kRight}});
  for (const v1::StepMetrics& step : history.steps()) {
    table.AddRow(
        {FormatInteger(step.step()), std::to_string(step.attempt()), FormatFixed(step.loss(), 4),
         FormatFixed(step.perplexity(), 2), FormatSignificant(step.grad_norm(), 4),
         FormatSignificant(step.learning_rate(), 4), FormatCompact(step.tokens_per_second()),
         FormatDuration(step.step_seconds()), FormatFixed(step.matmul_rate_ratio(), 3)});
  }
  std::string text = table.ToString();
  for (const auto& evaluation : history.evaluations())
    text += "evaluation at " + FormatEvaluation(evaluation) + "\n";
  return text;
}

std::string FormatCsv(const v1::ListMetricsResponse& history) {
  std::string text =
      "step,attempt,time,loss,perplexity,grad_norm,learning_rate,tokens,total_tokens,tokens_per_"
      "second,"
      "step_seconds,data_seconds,forward_seconds,backward_seconds,communicate_seconds,optimize_"
      "seconds,"
      "checkpoint_seconds,matmul_rate_ratio,trained_seconds\n";
  const auto real = [](double value) { return FormatSignificant(value, 9); };
  for (const v1::StepMetrics& step : history.steps()) {
    const v1::PhaseSeconds& phases = step.phase_seconds();
    text += fmt::format("{},{},{}", step.step(), step.attempt(), FormatTime(step.time()));
    for (const double value :
         {step.loss(), step.perplexity(), step.grad_norm(), step.learning_rate()}) {
      text += "," + real(value);
    }
    text += fmt::format(",{},{}", step.tokens(), step.total_tokens());
    for (const double value :
         {step.tokens_per_second(), step.step_seconds(), phases.data(), phases.forward(),
          phases.backward(), phases.communicate(), phases.optimize(), phases.checkpoint(),
          step.matmul_rate_ratio(), step.trained_seconds()}) {
      text += "," + real(value);
    }
    text += "\n";
  }
  return text;
}

// The newest point, or all of them as JSON.
absl::StatusOr<int> RunHealth(const Flags& flags, const std::string& job, const Session& session) {
  v1::ListFieldHealthRequest request;
  request.set_parent(job);
  v1::ListFieldHealthResponse points;
  if (flags.json) {
    WF_RETURN_IF_ERROR(ForEachPage(session, &v1::JobService::Stub::ListFieldHealth, request,
                                   [&](const v1::ListFieldHealthResponse& page) {
                                     points.mutable_points()->MergeFrom(page.points());
                                   }));
  } else {
    request.set_page_size(1);
    WF_ASSIGN_OR_RETURN(points, session.Call(&v1::JobService::Stub::ListFieldHealth, request));
    if (points.points().empty()) {
      fmt::print(stderr, "{} has no field health yet: it comes with evaluations\n", job);
      return kExitSuccess;
    }
  }
  const std::string text = flags.json ? ToJson(points, true) : FormatFieldHealth(points.points(0));
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitSuccess;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::ListMetricsRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_parent(), ParseJobName(flags.job));
  request.set_stride(flags.stride);
  request.set_after_step(flags.after_step);
  request.set_page_size(kPageSize);
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  if (flags.health) return RunHealth(flags, request.parent(), session);
  v1::ListMetricsResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::JobService::Stub::ListMetrics, request,
                                 [&](const v1::ListMetricsResponse& page) {
                                   all.mutable_steps()->MergeFrom(page.steps());
                                   all.mutable_evaluations()->MergeFrom(page.evaluations());
                                 }));
  const std::string text = flags.json  ? ToJson(all, true)
                           : flags.csv ? FormatCsv(all)
                                       : FormatTable(all);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitSuccess;
}

}  // namespace

void AddMetricsCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("metrics", "Show a job's history, step by step");
  command->add_option("JOB", flags->job, "its name")->required();
  CLI::Option* stride = command->add_option("--stride", flags->stride, "every n-th step only")
                            ->capture_default_str()
                            ->check(CLI::Range(1, 1 << 30));
  CLI::Option* after_step =
      command->add_option("--after-step", flags->after_step, "only steps after this one")
          ->check(CLI::NonNegativeNumber);
  CLI::Option* csv = command->add_flag("--csv", flags->csv, "print the steps as CSV");
  command
      ->add_flag("--json", flags->json,
                 "print a ListMetricsResponse as JSON; with --health, a ListFieldHealthResponse")
      ->excludes(csv);
  command
      ->add_flag("--health", flags->health,
                 "show the layers and their waves at the last evaluation (--json: at all of them)")
      ->excludes(csv)
      ->excludes(stride)
      ->excludes(after_step);
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
