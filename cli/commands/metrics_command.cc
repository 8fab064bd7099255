#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/field_health_view.h"
#include "cli/views/format.h"
#include "cli/views/history_csv.h"
#include "cli/views/job_view.h"
#include "cli/views/table.h"
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
  bool evaluations = false;
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

std::string FormatEvaluations(const v1::ListMetricsResponse& history) {
  Table table({{"STEP", Align::kRight},
               {"ATTEMPT", Align::kRight},
               {"LOSS", Align::kRight},
               {"PERPLEXITY", Align::kRight},
               {"BITS PER BYTE", Align::kRight},
               {"ACCURACY", Align::kRight},
               {"EMA LOSS", Align::kRight},
               {"TOKENS", Align::kRight},
               {"TIME", Align::kRight}});
  for (const v1::EvaluationResult& evaluation : history.evaluations()) {
    table.AddRow({FormatInteger(evaluation.step()), std::to_string(evaluation.attempt()),
                  FormatFixed(evaluation.loss(), 4), FormatFixed(evaluation.perplexity(), 2),
                  FormatFixed(evaluation.bits_per_byte(), 4),
                  FormatFixed(100 * evaluation.accuracy(), 1) + " %",
                  evaluation.has_ema_loss() ? FormatFixed(evaluation.ema_loss(), 4) : "-",
                  FormatInteger(evaluation.tokens()), FormatDuration(evaluation.seconds())});
  }
  return table.ToString();
}

std::string CsvHeader(const Flags& flags) {
  return flags.evaluations ? EvaluationCsvHeader() : StepCsvHeader();
}

std::string CsvRecords(const Flags& flags, const v1::ListMetricsResponse& page) {
  std::string text;
  if (flags.evaluations) {
    for (const auto& evaluation : page.evaluations()) text += EvaluationCsvRecord(evaluation);
  } else {
    for (const auto& step : page.steps()) text += StepCsvRecord(step);
  }
  return text;
}

void Print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

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
  Print(flags.json ? ToJson(points, true) : FormatFieldHealth(points.points(0)));
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
  const auto list = &v1::JobService::Stub::ListMetrics;
  if (flags.csv) {
    // Page by page: a history of days need not fit into memory.
    std::string header = CsvHeader(flags);
    WF_RETURN_IF_ERROR(
        ForEachPage(session, list, request, [&](const v1::ListMetricsResponse& page) {
          Print(std::exchange(header, "") + CsvRecords(flags, page));
        }));
    return kExitSuccess;
  }
  v1::ListMetricsResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, list, request, [&](const v1::ListMetricsResponse& page) {
    if (!flags.evaluations) all.mutable_steps()->MergeFrom(page.steps());
    all.mutable_evaluations()->MergeFrom(page.evaluations());
  }));
  Print(flags.json          ? ToJson(all, true)
        : flags.evaluations ? FormatEvaluations(all)
                            : FormatTable(all));
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
          ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  CLI::Option* csv =
      command->add_flag("--csv", flags->csv, "print the steps as CSV, all that is known of each");
  command
      ->add_flag("--json", flags->json,
                 "print a ListMetricsResponse as JSON; with --health, a ListFieldHealthResponse")
      ->excludes(csv);
  CLI::Option* evaluations = command->add_flag("--evaluations", flags->evaluations,
                                               "only the evaluations, in place of the steps");
  command
      ->add_flag("--health", flags->health,
                 "show the layers and their waves at the last evaluation (--json: at all of them)")
      ->excludes(csv)
      ->excludes(stride)
      ->excludes(after_step)
      ->excludes(evaluations);
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
