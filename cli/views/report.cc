#include "cli/views/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_replace.h"
#include "cli/resource_names.h"
#include "cli/spec_leaves.h"
#include "cli/views/format.h"
#include "cli/views/html_table.h"
#include "cli/views/job_view.h"
#include "cli/views/markup.h"
#include "cli/views/report_charts.h"
#include "cli/views/report_style.h"
#include "core/base/version.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

constexpr size_t kMaxRows = 200;
constexpr int kMaxHeads = 1024;

// The last `kMaxRows` or first ones of a list are shown; "" where that is all.
std::string CutNote(size_t all, const std::string& which) {
  return all <= kMaxRows ? ""
                         : HtmlParagraph(fmt::format("The {} {} of {}.", which, kMaxRows,
                                                     FormatInteger(static_cast<int64_t>(all))));
}

std::string Fields(const std::string& id,
                   const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string html = fmt::format("<dl id=\"{}\">\n", id);
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    html +=
        fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", EscapeMarkup(name), EscapeMarkup(value));
  }
  return html + "</dl>\n";
}

std::string Duration(const v1::Job& job, absl::Time now) {
  if (!job.has_start_time()) return "";
  const absl::Time end = job.has_end_time() ? absl::FromUnixSeconds(job.end_time().seconds()) +
                                                  absl::Nanoseconds(job.end_time().nanos())
                                            : now;
  return FormatAge(job.start_time(), end);
}

std::string RenderHeader(const ReportData& data) {
  const v1::Job& job = data.job;
  const std::string state = StateName(job.state());
  return fmt::format(
      "<header>\n<h1>{}</h1>\n<p><strong id=\"state\" class=\"state {}\">{}</strong> {}</p>\n"
      "<p class=\"note\">Written {} by wavefield {}</p>\n</header>\n",
      EscapeMarkup(ResourceId(job.name())), EscapeMarkup(state), EscapeMarkup(state),
      EscapeMarkup(WhyInState(job)),
      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", data.written, absl::UTCTimeZone()), kVersion);
}

std::string RenderSummary(const ReportData& data) {
  const v1::Job& job = data.job;
  const v1::StepMetrics& step = job.last_step();
  const v1::EvaluationResult& evaluation = job.last_evaluation();
  const auto of_step = [&](const std::string& text) { return job.has_last_step() ? text : ""; };
  const auto of_evaluation = [&](const std::string& text) {
    return job.has_last_evaluation() ? text : "";
  };
  const std::string of_max = job.max_steps() > 0 ? " of " + FormatInteger(job.max_steps()) : "";
  return Fields(
      "summary",
      {{"model", job.spec().model().preset()},
       {"parameters", FormatInteger(job.parameter_count())},
       {"dataset", ResourceId(job.spec().dataset())},
       {"ranks", fmt::format("{} × {}", job.spec().resources().world_size(),
                             job.spec().resources().device())},
       {"created", FormatTime(job.create_time())},
       {"took", Duration(job, data.written)},
       {"attempts", std::to_string(job.attempt())},
       {"steps", of_step(FormatInteger(step.step()) + of_max)},
       {"tokens", of_step(FormatInteger(step.total_tokens()))},
       {"training time", of_step(FormatDuration(step.trained_seconds()))},
       {"training loss", of_step(FormatFixed(step.loss(), 4))},
       {"training perplexity", of_step(FormatFixed(step.perplexity(), 2))},
       {"held-out loss", of_evaluation(FormatFixed(evaluation.loss(), 4))},
       {"held-out perplexity", of_evaluation(FormatFixed(evaluation.perplexity(), 2))},
       {"held-out bits per byte", of_evaluation(std::isnan(evaluation.bits_per_byte())
                                                    ? "not known"
                                                    : FormatFixed(evaluation.bits_per_byte(), 4))},
       {"held-out accuracy", of_evaluation(FormatFixed(100 * evaluation.accuracy(), 1) + " %")}});
}

std::string RenderCurves(const ReportData& data) {
  const std::string charts = RenderReportCharts(data);
  if (charts.empty() || data.stride <= 1) return charts;
  return HtmlParagraph(fmt::format("Every {}th step is drawn.", FormatInteger(data.stride))) +
         charts;
}

std::string RenderGoodput(const v1::Goodput& goodput) {
  if (goodput.total() == 0) return "";
  HtmlTable table("goodput-ledger", {{"where slot-time went"},
                                     {"share", Align::kRight},
                                     {"", Align::kRight},
                                     {"milliseconds", Align::kRight}});
  const google::protobuf::Descriptor& fields = *v1::Goodput::descriptor();
  const auto add = [&](const google::protobuf::FieldDescriptor& field) {
    const int64_t value = goodput.GetReflection()->GetInt64(goodput, &field);
    table.AddRow({absl::StrReplaceAll(field.name(), {{"_", " "}}),
                  fmt::format("{:.1f} %", 100.0 * static_cast<double>(value) /
                                              static_cast<double>(goodput.total())),
                  FormatDuration(static_cast<double>(value) / 1000), FormatInteger(value)});
  };
  for (int i = 0; i < fields.field_count(); ++i) {
    if (fields.field(i)->number() != v1::Goodput::kTotalFieldNumber) add(*fields.field(i));
  }
  add(*fields.FindFieldByNumber(v1::Goodput::kTotalFieldNumber));
  return table.ToString();
}

struct AttemptSpan {
  const v1::StepMetrics* first = nullptr;
  const v1::StepMetrics* last = nullptr;
};

std::string RenderEvents(const ReportData& data) {
  std::map<int32_t, AttemptSpan> attempts;
  for (const v1::StepMetrics& step : data.history.steps()) {
    AttemptSpan& span = attempts[step.attempt()];
    if (span.first == nullptr) span.first = &step;
    span.last = &step;
  }
  HtmlTable table("attempts", {{"attempt", Align::kRight},
                               {"first step", Align::kRight},
                               {"last step", Align::kRight},
                               {"from"},
                               {"to"},
                               {"steps lost", Align::kRight}});
  for (auto span = attempts.begin(); span != attempts.end(); ++span) {
    const auto next = std::next(span);
    const auto& [first, last] = span->second;
    const int64_t lost =
        next == attempts.end()
            ? 0
            : std::max<int64_t>(0, last->step() - next->second.first->step() + data.stride);
    table.AddRow({std::to_string(span->first), FormatInteger(first->step()),
                  FormatInteger(last->step()), FormatTime(first->time()), FormatTime(last->time()),
                  FormatInteger(lost)});
  }
  std::string html = table.empty() ? "" : table.ToString();
  if (data.job.warnings().empty()) return html;
  html += "<h3>Warnings</h3>\n<ul id=\"warnings\">\n";
  for (const std::string& warning : data.job.warnings()) {
    html += "<li>" + EscapeMarkup(warning) + "</li>\n";
  }
  return html + "</ul>\n";
}

std::string RenderEvaluations(const v1::ListMetricsResponse& history) {
  HtmlTable table("evaluation-results", {{"step", Align::kRight},
                                         {"attempt", Align::kRight},
                                         {"loss", Align::kRight},
                                         {"perplexity", Align::kRight},
                                         {"bits per byte", Align::kRight},
                                         {"accuracy", Align::kRight},
                                         {"averaged weights' loss", Align::kRight},
                                         {"tokens", Align::kRight},
                                         {"time", Align::kRight}});
  const auto count = static_cast<size_t>(history.evaluations_size());
  for (size_t i = count - std::min(count, kMaxRows); i < count; ++i) {
    const v1::EvaluationResult& evaluation = history.evaluations(static_cast<int>(i));
    table.AddRow({FormatInteger(evaluation.step()), std::to_string(evaluation.attempt()),
                  FormatFixed(evaluation.loss(), 4), FormatFixed(evaluation.perplexity(), 2),
                  FormatFixed(evaluation.bits_per_byte(), 4),
                  FormatFixed(100 * evaluation.accuracy(), 1) + " %",
                  evaluation.has_ema_loss() ? FormatFixed(evaluation.ema_loss(), 4) : "",
                  FormatInteger(evaluation.tokens()), FormatDuration(evaluation.seconds())});
  }
  return table.empty() ? "" : CutNote(count, "last") + table.ToString();
}

std::string RenderCheckpoints(const std::vector<v1::Checkpoint>& checkpoints) {
  HtmlTable table("checkpoint-list", {{"checkpoint"},
                                      {"step", Align::kRight},
                                      {"loss", Align::kRight},
                                      {"held-out loss", Align::kRight},
                                      {"tokens", Align::kRight},
                                      {"size", Align::kRight},
                                      {"created"},
                                      {"from"},
                                      {"note"}});
  for (size_t i = 0; i < std::min(checkpoints.size(), kMaxRows); ++i) {
    const v1::Checkpoint& checkpoint = checkpoints[i];
    table.AddRow(
        {ShortCheckpointName(checkpoint.name()), FormatInteger(checkpoint.step()),
         FormatFixed(checkpoint.loss(), 4),
         checkpoint.evaluation_loss() == 0 ? "" : FormatFixed(checkpoint.evaluation_loss(), 4),
         FormatInteger(checkpoint.total_tokens()),
         FormatBytes(static_cast<double>(checkpoint.bytes())), FormatTime(checkpoint.create_time()),
         ShortCheckpointName(checkpoint.parent()),
         (checkpoint.pinned() ? "pinned " : "") + checkpoint.note()});
  }
  return table.empty() ? "" : CutNote(checkpoints.size(), "newest") + table.ToString();
}

std::string RenderFieldHealth(const std::optional<v1::FieldHealth>& health) {
  if (!health) return "";
  const auto real = [](double value) { return FormatSignificant(value, 4); };
  HtmlTable layers("health-layers", {{"layer", Align::kRight},
                                     {"residual RMS", Align::kRight},
                                     {"mixer RMS", Align::kRight},
                                     {"gradient RMS", Align::kRight},
                                     {"update ratio", Align::kRight}});
  HtmlTable heads("health-heads", {{"layer", Align::kRight},
                                   {"head", Align::kRight},
                                   {"1/λ p10, tokens", Align::kRight},
                                   {"p50", Align::kRight},
                                   {"p90", Align::kRight},
                                   {"frequency", Align::kRight},
                                   {"phase", Align::kRight},
                                   {"coupling entropy", Align::kRight}});
  int head_count = 0;
  for (int i = 0; i < health->layers_size(); ++i) {
    const v1::LayerHealth& layer = health->layers(i);
    layers.AddRow({std::to_string(i), real(layer.residual_rms()), real(layer.mixer_rms()),
                   layer.has_gradient_rms() ? real(layer.gradient_rms()) : "",
                   layer.has_update_ratio() ? real(layer.update_ratio()) : ""});
    for (int h = 0; h < layer.heads_size(); ++h) {
      if (++head_count > kMaxHeads) break;
      const v1::HeadHealth& head = layer.heads(h);
      heads.AddRow({std::to_string(i), std::to_string(h), real(head.time_constant_p10()),
                    real(head.time_constant_p50()), real(head.time_constant_p90()),
                    real(head.frequency()), real(head.phase()), real(head.coupling_entropy())});
    }
  }
  std::string html = HtmlParagraph(fmt::format("At step {}, attempt {}.",
                                               FormatInteger(health->step()), health->attempt())) +
                     layers.ToString();
  if (heads.empty()) return html;
  if (head_count > kMaxHeads) html += HtmlParagraph(fmt::format("The first {} heads.", kMaxHeads));
  return html + "<details><summary>Heads</summary>\n" + heads.ToString() + "</details>\n";
}

// What the job's preset says of the model's settings that the job has otherwise.
std::map<std::string, std::string> OtherInPreset(const v1::ModelSpec& model,
                                                 const std::map<std::string, std::string>& leaves) {
  std::map<std::string, std::string> other;
  const absl::StatusOr<ModelConfig> preset = FindPreset(model.preset());
  if (!preset.ok()) return other;
  const nlohmann::json config = ToJson(*preset);
  for (const auto& [key, value] : config.items()) {
    const auto leaf = leaves.find("model." + key);
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (leaf != leaves.end() && leaf->second != text) other[leaf->first] = text;
  }
  return other;
}

std::string RenderConfiguration(const v1::JobSpec& spec) {
  const std::map<std::string, std::string> leaves = SpecLeaves(spec);
  const std::map<std::string, std::string> other = OtherInPreset(spec.model(), leaves);
  HtmlTable table("settings", {{"setting"}, {"value"}, {"in the preset"}});
  for (const auto& [path, value] : leaves) {
    const auto preset = other.find(path);
    table.AddRow({path, value, preset == other.end() ? "" : preset->second});
  }
  return table.ToString();
}

std::string RenderEnvironment(const ReportData& data) {
  std::string html;
  if (data.dataset) {
    const v1::Dataset& dataset = *data.dataset;
    html += Fields("dataset", {{"dataset", ResourceId(dataset.name())},
                               {"content hash", dataset.content_hash()},
                               {"tokenizer", dataset.tokenizer()},
                               {"vocabulary", FormatInteger(dataset.vocab_size())},
                               {"training tokens", FormatInteger(dataset.train_tokens())},
                               {"held-out tokens", FormatInteger(dataset.validation_tokens())}});
  }
  std::set<std::string> fingerprints;
  for (const v1::Checkpoint& checkpoint : data.checkpoints) {
    if (!checkpoint.fingerprint().empty()) fingerprints.insert(checkpoint.fingerprint());
  }
  if (!fingerprints.empty()) {
    html += "<h3>What its checkpoints were computed with</h3>\n<ul id=\"fingerprints\">\n";
    for (const std::string& fingerprint : fingerprints) {
      html += "<li><code>" + EscapeMarkup(fingerprint) + "</code></li>\n";
    }
    html += "</ul>\n";
  }
  std::map<std::string, std::string> ranks;
  for (const v1::RankPlacement& placement : data.job.placements()) {
    std::string& of_worker = ranks[placement.worker()];
    of_worker += (of_worker.empty() ? "" : ", ") + std::to_string(placement.rank());
  }
  HtmlTable table("workers", {{"worker"},
                              {"state"},
                              {"device"},
                              {"slots", Align::kRight},
                              {"threads", Align::kRight},
                              {"FLOP/s of a slot", Align::kRight},
                              {"GPUs"},
                              {"version"},
                              {"ranks of this job"}});
  for (size_t i = 0; i < std::min(data.workers.size(), kMaxRows); ++i) {
    const v1::Worker& worker = data.workers[i];
    std::set<std::string> gpus;
    for (const v1::Gpu& gpu : worker.gpus()) gpus.insert(gpu.model());
    table.AddRow(
        {ResourceId(worker.name()),
         absl::StrReplaceAll(v1::WorkerState_Name(worker.state()), {{"WORKER_STATE_", ""}}),
         worker.device(), std::to_string(worker.slots()), std::to_string(worker.threads_per_slot()),
         FormatCompact(worker.matmul_rate()),
         gpus.empty() ? "" : fmt::format("{} × {}", worker.gpus_size(), fmt::join(gpus, ", ")),
         worker.version(), ranks[worker.name()]});
  }
  if (table.empty()) return html;
  return html + "<h3>Workers of the cluster when this was written</h3>\n" +
         CutNote(data.workers.size(), "first") + table.ToString();
}

}  // namespace

std::string RenderReport(const ReportData& data) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
      EscapeMarkup(ResourceId(data.job.name())), kReportStyle);
  html += RenderHeader(data) + RenderSummary(data);
  html += HtmlSection("curves", "Curves", RenderCurves(data));
  html += HtmlSection("goodput", "Goodput", RenderGoodput(data.job.goodput()));
  html += HtmlSection("events", "Attempts and warnings", RenderEvents(data));
  html += HtmlSection("evaluations", "Evaluations", RenderEvaluations(data.history));
  html += HtmlSection("checkpoints", "Checkpoints", RenderCheckpoints(data.checkpoints));
  html += HtmlSection("health", "Field health", RenderFieldHealth(data.field_health));
  html += HtmlSection("configuration", "Configuration", RenderConfiguration(data.job.spec()));
  html += HtmlSection("environment", "Environment", RenderEnvironment(data));
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace wavefield
