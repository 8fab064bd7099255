#include "cli/views/comparison_view.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "absl/strings/ascii.h"
#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/job_view.h"
#include "cli/views/table.h"
#include "core/base/json_numbers.h"

namespace wavefield {
namespace {

constexpr char kNone[] = "—";
// More jobs than this are shown in rows.
constexpr size_t kMaxJobColumns = 6;

using Field = std::pair<std::string, std::function<std::string(const ComparedJob&)>>;

std::string FormText(const v1::ModelSpec& model) {
  if (model.form() != "modern") return model.form();
  const std::string text = model.damping() + " " + model.deposit();
  if (model.attention_layers().empty()) return text;
  return fmt::format("{}, attention in {}", text, fmt::join(model.attention_layers(), ", "));
}

// NaN of a checkpoint that was uploaded: how long it took is not known.
double MeanTokensPerSecond(const v1::StepMetrics& step) {
  return step.trained_seconds() > 0
             ? static_cast<double>(step.total_tokens()) / step.trained_seconds()
             : NAN;
}

double TotalFlops(const ComparedJob& job) {
  return *job.flops_per_token * static_cast<double>(job.job.last_step().total_tokens());
}

std::string BatchesText(const HistorySummary& history) {
  if (history.batches_compared == 0) return "not known";
  if (history.other_batch_step == 0) {
    return fmt::format("the same {}", FormatInteger(history.batches_compared));
  }
  return "others from step " + FormatInteger(history.other_batch_step);
}

std::vector<Field> ResultFields(const ComparedJob& first, const LossTarget& target) {
  const auto of_step = [](const auto& text_of) {
    return [text_of](const ComparedJob& job) {
      return job.job.has_last_step() ? text_of(job.job.last_step()) : std::string(kNone);
    };
  };
  const auto of_evaluation = [](const auto& text_of) {
    return [text_of](const ComparedJob& job) {
      return job.job.has_last_evaluation() ? text_of(job.job.last_evaluation())
                                           : std::string(kNone);
    };
  };
  using Step = v1::StepMetrics;
  using Evaluation = v1::EvaluationResult;
  std::vector<Field> fields = {
      {"state", [](const ComparedJob& job) { return StateName(job.job.state()); }},
      {"form", [](const ComparedJob& job) { return FormText(job.job.spec().model()); }},
      {"parameters",
       [](const ComparedJob& job) { return FormatInteger(job.job.parameter_count()); }},
      {"steps", of_step([](const Step& step) { return FormatInteger(step.step()); })},
      {"tokens", of_step([](const Step& step) { return FormatInteger(step.total_tokens()); })},
      {"training time", of_step([](const Step& step) {
         return step.trained_seconds() > 0 ? FormatDuration(step.trained_seconds()) : kNone;
       })},
      {"tokens/s", of_step([](const Step& step) {
         return step.trained_seconds() > 0 ? FormatCompact(MeanTokensPerSecond(step)) : kNone;
       })},
      {"model FLOPs",
       [](const ComparedJob& job) {
         return job.flops_per_token ? FormatSignificant(TotalFlops(job), 4) : kNone;
       }},
      {"training loss", of_step([](const Step& step) { return FormatFixed(step.loss(), 4); })},
      {"held-out loss",
       of_evaluation([](const Evaluation& result) { return FormatFixed(result.loss(), 4); })},
      {"perplexity",
       of_evaluation([](const Evaluation& result) { return FormatFixed(result.perplexity(), 2); })},
      {"accuracy", of_evaluation([](const Evaluation& result) {
         return result.tokens() > 0 ? FormatFixed(100 * result.accuracy(), 1) + " %" : kNone;
       })},
      {"bits per byte", of_evaluation([](const Evaluation& result) {
         return std::isnan(result.bits_per_byte()) ? "not known"
                                                   : FormatFixed(result.bits_per_byte(), 4);
       })}};
  if (target.loss) {
    fields.emplace_back("tokens to loss " + FormatFixed(*target.loss, 4),
                        [](const ComparedJob& job) {
                          const auto& tokens = job.history.tokens_to_target;
                          return tokens ? FormatInteger(*tokens) : std::string(kNone);
                        });
  }
  const std::string name = ResourceId(first.job.name());
  fields.emplace_back("batches as " + name, [name](const ComparedJob& job) {
    return ResourceId(job.job.name()) == name ? kNone : BatchesText(job.history);
  });
  return fields;
}

// rows[i][j]: field i of job j.
std::string FormatPerJob(const std::vector<ComparedJob>& jobs,
                         const std::vector<std::string>& titles,
                         const std::vector<std::vector<std::string>>& rows) {
  const bool transposed = jobs.size() > kMaxJobColumns;
  std::vector<Column> columns = {{transposed ? "JOB" : ""}};
  if (transposed) {
    for (const std::string& title : titles) {
      columns.push_back({absl::AsciiStrToUpper(title), Align::kRight});
    }
  } else {
    for (const ComparedJob& job : jobs) {
      columns.push_back({ResourceId(job.job.name()), Align::kRight});
    }
  }
  Table table(std::move(columns));
  if (transposed) {
    for (size_t j = 0; j < jobs.size(); ++j) {
      std::vector<Cell> cells = {ResourceId(jobs[j].job.name())};
      for (const auto& row : rows) cells.emplace_back(row[j]);
      table.AddRow(std::move(cells));
    }
  } else {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::vector<Cell> cells(rows[i].begin(), rows[i].end());
      cells.insert(cells.begin(), titles[i]);
      table.AddRow(std::move(cells));
    }
  }
  return table.ToString();
}

std::string FormatSettings(const std::vector<ComparedJob>& jobs) {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> rows;
  for (DifferingSetting& setting : FindDifferingSettings(jobs)) {
    titles.push_back(std::move(setting.path));
    for (std::string& value : setting.values) {
      if (value.empty()) value = kNone;
    }
    rows.push_back(std::move(setting.values));
  }
  if (rows.empty()) return "All settings are equal.\n";
  return "Settings that differ:\n" + FormatPerJob(jobs, titles, rows);
}

nlohmann::json JobJson(const ComparedJob& compared) {
  const v1::Job& job = compared.job;
  nlohmann::json json = {{"name", job.name()},
                         {"state", v1::JobState_Name(job.state())},
                         {"form", FormText(job.spec().model())},
                         {"parameter_count", job.parameter_count()},
                         {"batches_compared", compared.history.batches_compared},
                         {"other_batch_step", compared.history.other_batch_step},
                         {"smoothed_loss", NumberToJson(compared.history.smoothed_loss)}};
  if (job.has_last_step()) {
    const v1::StepMetrics& step = job.last_step();
    json["steps"] = step.step();
    json["tokens"] = step.total_tokens();
    json["trained_seconds"] = step.trained_seconds();
    json["tokens_per_second"] = NumberToJson(MeanTokensPerSecond(step));
    json["training_loss"] = NumberToJson(step.loss());
  }
  if (job.has_last_evaluation()) {
    const v1::EvaluationResult& result = job.last_evaluation();
    json["evaluation"] = {{"step", result.step()},
                          {"loss", NumberToJson(result.loss())},
                          {"perplexity", NumberToJson(result.perplexity())},
                          {"accuracy", NumberToJson(result.accuracy())},
                          {"bits_per_byte", NumberToJson(result.bits_per_byte())},
                          {"tokens", result.tokens()}};
  }
  if (compared.flops_per_token) json["model_flops"] = TotalFlops(compared);
  if (compared.history.tokens_to_target) {
    json["tokens_to_target"] = *compared.history.tokens_to_target;
  }
  return json;
}

}  // namespace

std::string FormatComparison(const std::vector<ComparedJob>& jobs, const LossTarget& target) {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> rows;
  for (const auto& [title, text_of] : ResultFields(jobs[0], target)) {
    titles.push_back(title);
    rows.emplace_back();
    for (const ComparedJob& job : jobs) rows.back().push_back(text_of(job));
  }
  std::string text = FormatPerJob(jobs, titles, rows) + "\n" + FormatSettings(jobs) + "\n";
  for (const std::string& remark : FindRemarks(jobs, target)) text += "note: " + remark + "\n";
  for (const std::string& unfair : FindUnfairness(jobs)) text += "UNFAIR: " + unfair + "\n";
  return text;
}

nlohmann::json ComparisonJson(const std::vector<ComparedJob>& jobs, const LossTarget& target) {
  nlohmann::json json = {{"jobs", nlohmann::json::array()},
                         {"differing_settings", nlohmann::json::object()},
                         {"unfair", FindUnfairness(jobs)},
                         {"remarks", FindRemarks(jobs, target)}};
  for (const ComparedJob& job : jobs) json["jobs"].push_back(JobJson(job));
  for (const DifferingSetting& setting : FindDifferingSettings(jobs)) {
    json["differing_settings"][setting.path] = setting.values;
  }
  if (target.loss) {
    json["target"] = {{"loss", *target.loss}, {"held_out", target.held_out}};
  }
  return json;
}

}  // namespace wavefield
