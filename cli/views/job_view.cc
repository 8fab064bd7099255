#include "cli/views/job_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/table.h"
#include "core/base/suggest.h"
#include "core/base/text.h"

namespace wavefield {
namespace {

constexpr char kStatePrefix[] = "JOB_STATE_";
constexpr char kReasonPrefix[] = "JOB_REASON_";

std::string WithoutPrefix(const std::string& name, const std::string& prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

std::string StepOfMax(const v1::Job& job) {
  const std::string step = FormatInteger(job.last_step().step());
  return job.max_steps() > 0 ? step + "/" + FormatInteger(job.max_steps()) : step;
}

std::string LabelsText(const v1::JobSpec& spec) {
  const std::map<std::string, std::string> sorted(spec.labels().begin(), spec.labels().end());
  std::string text;
  for (const auto& [key, value] : sorted) text += (text.empty() ? "" : " ") + key + "=" + value;
  return text;
}

std::string DependenciesText(const v1::JobSpec& spec) {
  std::string text;
  for (const v1::Dependency& dependency : spec.after()) {
    text += (text.empty() ? "" : ", ") + ResourceId(dependency.job()) +
            (dependency.on() == "end" ? " (any end)" : "");
  }
  return text;
}

std::string MomentWithBoth(const google::protobuf::Timestamp& time, const ViewStyle& style) {
  const std::string utc = FormatTime(time);
  return style.exact ? utc : fmt::format("{} ({})", utc, FormatMoment(time, style.now));
}

}  // namespace

std::string EnumText(const std::string& value_name, const std::string& prefix) {
  return absl::AsciiStrToLower(
      absl::StrReplaceAll(WithoutPrefix(value_name, prefix), {{"_", " "}}));
}

std::string StateName(v1::JobState state) {
  const std::string name = v1::JobState_Name(state);
  return name.empty() ? std::to_string(state) : WithoutPrefix(name, kStatePrefix);
}

std::string ReasonText(v1::JobReason reason) {
  if (reason == v1::JOB_REASON_UNSPECIFIED) return "";
  const std::string name = v1::JobReason_Name(reason);
  return name.empty() ? fmt::format("reason {}", static_cast<int>(reason))
                      : EnumText(name, kReasonPrefix);
}

Color StateColor(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_STARTING:
    case v1::JOB_STATE_RUNNING:
      return Color::kGreen;
    case v1::JOB_STATE_QUEUED:
    case v1::JOB_STATE_STOPPING:
    case v1::JOB_STATE_PAUSED:
      return Color::kYellow;
    case v1::JOB_STATE_SUCCEEDED:
      return Color::kBlue;
    case v1::JOB_STATE_FAILED:
      return Color::kRed;
    case v1::JOB_STATE_CANCELLED:
      return Color::kDim;
    default:
      return Color::kNone;
  }
}

std::string MessageOf(const v1::Job& job) { return FirstLine(job.state_message()); }

std::string WhyInState(const v1::Job& job) {
  const std::string reason = ReasonText(job.reason()), message = MessageOf(job);
  if (reason.empty() || message.empty()) return reason + message;
  return reason + ": " + message;
}

std::string FormatJobLine(const v1::Job& job) {
  const std::string why = job.state_message().empty() ? ReasonText(job.reason()) : MessageOf(job);
  return OnOneLine(fmt::format("{} {}{}{}", ResourceId(job.name()), StateName(job.state()),
                               why.empty() ? "" : ": ", why));
}

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::JOB_STATE_SUCCEEDED || job.state() == v1::JOB_STATE_FAILED ||
         job.state() == v1::JOB_STATE_CANCELLED;
}

absl::StatusOr<std::string> ParseStateName(const std::string& text) {
  const std::string name = WithoutPrefix(absl::AsciiStrToUpper(text), kStatePrefix);
  std::vector<std::string> known;
  const auto* states = v1::JobState_descriptor();
  for (int i = 1; i < states->value_count(); ++i) {
    known.push_back(WithoutPrefix(states->value(i)->name(), kStatePrefix));
  }
  if (std::find(known.begin(), known.end(), name) != known.end()) return name;
  const std::string nearest = SuggestNearest(name, known);
  return absl::InvalidArgumentError(fmt::format(
      "'{}' is not a state; {}", text,
      nearest.empty() ? "known: " + fmt::format("{}", fmt::join(known, ", ")) : nearest));
}

std::string FormatJobs(const std::vector<v1::Job>& jobs, const ViewStyle& style) {
  std::vector<Column> columns = {{"JOB"},
                                 {"STATE"},
                                 {"STEP", Align::kRight},
                                 {"LOSS", Align::kRight},
                                 {"PERPLEXITY", Align::kRight},
                                 {"TOKENS/S", Align::kRight},
                                 {"RANKS", Align::kRight},
                                 {"CREATED", Align::kRight}};
  if (style.wide) {
    for (const char* title : {"STARTED", "ENDED", "PRIORITY", "RESTARTS", "HELD-OUT LOSS"}) {
      columns.push_back({title, Align::kRight});
    }
    for (const char* title : {"DEVICE", "MODEL", "DATASET", "LABELS"}) columns.push_back({title});
  }
  columns.push_back({"WHY"});
  Table table(std::move(columns));
  for (const v1::Job& job : jobs) {
    const bool has_step = job.has_last_step();
    const v1::StepMetrics& step = job.last_step();
    const v1::JobSpec& spec = job.spec();
    std::vector<Cell> cells = {
        ResourceId(job.name()),
        {StateName(job.state()), StateColor(job.state())},
        has_step ? StepOfMax(job) : "-",
        has_step ? FormatFixed(step.loss(), 4) : "-",
        has_step ? FormatFixed(step.perplexity(), 2) : "-",
        step.tokens_per_second() > 0 ? FormatCompact(step.tokens_per_second()) : "-",
        std::to_string(spec.resources().world_size()),
        style.When(job.create_time())};
    if (style.wide) {
      cells.insert(cells.end(),
                   {style.When(job.start_time()), style.When(job.end_time()),
                    std::to_string(spec.priority()), std::to_string(job.restarts()),
                    job.has_last_evaluation() ? FormatFixed(job.last_evaluation().loss(), 4) : "-",
                    spec.resources().device(), spec.model().preset(), ResourceId(spec.dataset()),
                    LabelsText(spec)});
    }
    cells.emplace_back(WhyInState(job));
    table.AddRow(std::move(cells));
  }
  return table.ToString(style.colors);
}

std::string FormatJob(const v1::Job& job, int64_t checkpoint_count, const ViewStyle& style) {
  std::vector<std::pair<std::string, std::string>> fields = {{"job", ResourceId(job.name())},
                                                             {"state", StateName(job.state())}};
  const auto add = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, value);
  };
  add("why", WhyInState(job));
  add("model", job.spec().model().preset());
  add("parameters", FormatInteger(job.parameter_count()));
  if (job.memory_estimate_bytes() > 0) {
    add("memory per rank",
        FormatBytes(static_cast<double>(job.memory_estimate_bytes())) + " (estimate)");
  }
  add("dataset", ResourceId(job.spec().dataset()));
  add("ranks", std::to_string(job.spec().resources().world_size()));
  add("priority", std::to_string(job.spec().priority()));
  add("labels", LabelsText(job.spec()));
  if (!job.spec().init_from().empty()) {
    add("weights from", ShortCheckpointName(job.spec().init_from()));
  }
  add("after", DependenciesText(job.spec()));
  add("created", MomentWithBoth(job.create_time(), style));
  if (job.has_queue_time() && job.state() == v1::JOB_STATE_QUEUED) {
    add("queued", MomentWithBoth(job.queue_time(), style));
  }
  if (job.has_start_time()) add("started", MomentWithBoth(job.start_time(), style));
  if (job.has_end_time()) add("ended", MomentWithBoth(job.end_time(), style));
  add("attempt", fmt::format("{} ({} restarts)", job.attempt(), job.restarts()));
  if (job.has_last_step()) {
    add("step", StepOfMax(job));
    add("last step", FormatStep(job.last_step(), job.last_step().tokens_per_second()));
    add("tokens", FormatInteger(job.last_step().total_tokens()));
    if (job.last_step().trained_seconds() > 0) {
      add("trained", FormatDuration(job.last_step().trained_seconds()));
    }
  }
  if (job.has_last_evaluation()) add("last evaluation", FormatEvaluation(job.last_evaluation()));
  add("checkpoints", job.latest_checkpoint().empty()
                         ? FormatInteger(checkpoint_count)
                         : fmt::format("{}, newest {}", FormatInteger(checkpoint_count),
                                       ShortCheckpointName(job.latest_checkpoint())));
  for (const auto& placement : job.placements()) {
    add(fmt::format("rank {}", placement.rank()),
        fmt::format("{}, slot {}, pid {}", ResourceId(placement.worker()), placement.slot(),
                    placement.pid()));
  }
  for (const std::string& warning : job.warnings()) {
    add("warning", FirstLine(warning));
  }
  return FormatFields(fields);
}

std::string FormatStep(const v1::StepMetrics& step, double tokens_per_second) {
  const std::string speed =
      tokens_per_second > 0 ? fmt::format("  {} tokens/s", FormatCompact(tokens_per_second)) : "";
  return fmt::format("loss {}  perplexity {}{}", FormatFixed(step.loss(), 4),
                     FormatFixed(step.perplexity(), 2), speed);
}

std::string FormatEvaluation(const v1::EvaluationResult& evaluation) {
  const std::string bits = std::isnan(evaluation.bits_per_byte())
                               ? "bits per byte not known"
                               : FormatFixed(evaluation.bits_per_byte(), 4) + " bits per byte";
  const std::string on =
      evaluation.tokens() > 0
          ? fmt::format("  accuracy {} %  ({} tokens)", FormatFixed(100 * evaluation.accuracy(), 1),
                        FormatInteger(evaluation.tokens()))
          : "";  // of a checkpoint that was uploaded
  return fmt::format("step {}: loss {}  perplexity {}  {}{}", FormatInteger(evaluation.step()),
                     FormatFixed(evaluation.loss(), 4), FormatFixed(evaluation.perplexity(), 2),
                     bits, on);
}

}  // namespace wavefield
