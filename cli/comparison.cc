#include "cli/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include "cli/resource_names.h"
#include "cli/spec_leaves.h"
#include "cli/views/format.h"
#include "cli/views/job_view.h"

namespace wavefield {
namespace {

constexpr double kSmoothing = 1.0 / 20;
constexpr double kParameterTolerance = 0.01;

// The values that are not empty, with the jobs that have them: "256: a, b; 512: c"; "" where there
// are fewer than two.
template <typename ValueOf>
std::string DescribeDifference(const std::vector<ComparedJob>& jobs, const ValueOf& value_of) {
  std::vector<std::pair<std::string, std::string>> groups;
  for (const ComparedJob& job : jobs) {
    const std::string value = value_of(job);
    if (value.empty()) continue;
    const std::string name = ResourceId(job.job.name());
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const auto& known) { return known.first == value; });
    if (group == groups.end()) {
      groups.emplace_back(value, name);
    } else {
      group->second += ", " + name;
    }
  }
  if (groups.size() < 2) return "";
  std::string text;
  for (const auto& [value, names] : groups) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", value, names);
  }
  return text;
}

template <typename IsTrue>
std::string NamesWhere(const std::vector<ComparedJob>& jobs, const IsTrue& is_true) {
  std::vector<std::string> names;
  for (const ComparedJob& job : jobs) {
    if (is_true(job)) names.push_back(ResourceId(job.job.name()));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string ParametersApart(const std::vector<ComparedJob>& jobs) {
  const auto [least, most] =
      std::minmax_element(jobs.begin(), jobs.end(), [](const auto& a, const auto& b) {
        return a.job.parameter_count() < b.job.parameter_count();
      });
  const auto low = static_cast<double>(least->job.parameter_count());
  const double apart = static_cast<double>(most->job.parameter_count()) / low - 1;
  if (!(apart > kParameterTolerance)) return "";
  return fmt::format("parameters are {:.1f} % apart: {}", 100 * apart,
                     DescribeDifference(jobs, [](const ComparedJob& job) {
                       return FormatInteger(job.job.parameter_count());
                     }));
}

std::string TokenizerOf(const ComparedJob& job) {
  if (!job.dataset) return "";
  return fmt::format("{} of {}", job.dataset->tokenizer(),
                     FormatInteger(job.dataset->vocab_size()));
}

}  // namespace

LossTarget ChooseTarget(const std::vector<v1::Job>& jobs, std::optional<double> loss) {
  const bool held_out = std::all_of(jobs.begin(), jobs.end(),
                                    [](const v1::Job& job) { return job.has_last_evaluation(); });
  LossTarget target{.held_out = held_out, .loss = loss};
  if (loss || !held_out) return target;
  for (const v1::Job& job : jobs) {
    const double last = job.last_evaluation().loss();
    if (std::isfinite(last)) target.loss = std::max(last, target.loss.value_or(last));
  }
  return target;
}

void HistoryFold::Reach(State& state, double loss, const std::optional<double>& target,
                        int64_t tokens) {
  std::optional<int64_t>& reached = state.summary.tokens_to_target;
  if (target && loss <= *target && (!reached || tokens < *reached)) reached = tokens;
}

void HistoryFold::AddStep(size_t job, const v1::StepMetrics& step) {
  State& state = states_[job];
  if (job == 0) {
    first_job_step_ = step.step();
    first_job_digest_ = step.batch_digest();
  } else if (step.step() == first_job_step_ && step.batch_digest() != 0 && first_job_digest_ != 0) {
    if (std::exchange(state.compared_step, step.step()) != step.step()) {
      ++state.summary.batches_compared;
    }
    if (step.batch_digest() != first_job_digest_ && state.summary.other_batch_step == 0) {
      state.summary.other_batch_step = step.step();
    }
  }
  if (!std::isfinite(step.loss())) return;
  state.mean += kSmoothing * (step.loss() - state.mean);
  state.weight += kSmoothing * (1 - state.weight);
  state.summary.smoothed_loss = state.mean / state.weight;
  if (!target_.held_out) {
    Reach(state, state.summary.smoothed_loss, target_.loss, step.total_tokens());
  }
}

void HistoryFold::AddEvaluation(size_t job, const v1::EvaluationResult& evaluation,
                                int64_t tokens) {
  if (target_.held_out) Reach(states_[job], evaluation.loss(), target_.loss, tokens);
}

std::vector<HistorySummary> HistoryFold::Summaries() const {
  std::vector<HistorySummary> summaries;
  for (const State& state : states_) summaries.push_back(state.summary);
  return summaries;
}

std::vector<DifferingSetting> FindDifferingSettings(const std::vector<ComparedJob>& jobs) {
  std::map<std::string, std::vector<std::string>> settings;
  for (size_t i = 0; i < jobs.size(); ++i) {
    for (auto& [path, value] : SpecLeaves(jobs[i].job.spec())) {
      std::vector<std::string>& values = settings[path];
      values.resize(jobs.size());
      values[i] = std::move(value);
    }
  }
  std::vector<DifferingSetting> differing;
  for (auto& [path, values] : settings) {
    if (std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) != values.end()) {
      differing.push_back({path, std::move(values)});
    }
  }
  return differing;
}

std::vector<std::string> FindUnfairness(const std::vector<ComparedJob>& jobs) {
  std::vector<std::string> found;
  const auto add = [&](const std::string& what, const std::string& difference,
                       const std::string& consequence = "") {
    if (!difference.empty()) found.push_back(what + difference + consequence);
  };
  const auto differing = [&](const auto& value_of) { return DescribeDifference(jobs, value_of); };

  add("the datasets differ: ", differing([](const ComparedJob& job) {
        return job.dataset ? fmt::format("{} ({:.12})", ResourceId(job.dataset->name()),
                                         job.dataset->content_hash())
                           : "";
      }),
      " (losses on different text do not compare)");
  add("datasets that are not catalogued any more cannot be told apart: ",
      NamesWhere(jobs, [](const ComparedJob& job) { return !job.dataset; }));
  add("the tokenizers differ: ", differing(TokenizerOf),
      " (compare bits per byte, not loss, perplexity or accuracy)");
  add("the sequence lengths differ: ", differing([](const ComparedJob& job) {
        return FormatInteger(job.job.spec().training().sequence_length());
      }));
  add("the batch sizes differ: ", differing([](const ComparedJob& job) {
        return FormatInteger(job.job.spec().training().batch_size());
      }));
  add("", ParametersApart(jobs));
  add("the jobs trained on different numbers of tokens: ", differing([](const ComparedJob& job) {
        return FormatInteger(job.job.last_step().total_tokens());
      }));
  add("the jobs were evaluated on different numbers of tokens: ",
      differing([](const ComparedJob& job) {
        // Of a checkpoint that was uploaded it is not known.
        const int64_t tokens = job.job.last_evaluation().tokens();
        return tokens > 0 ? FormatInteger(tokens) : "";
      }));
  const auto evaluated = [](const ComparedJob& job) { return job.job.has_last_evaluation(); };
  if (std::any_of(jobs.begin(), jobs.end(), evaluated)) {
    add("not evaluated: ", NamesWhere(jobs, std::not_fn(evaluated)));
  }
  add("last evaluated before their last step: ", NamesWhere(jobs, [](const ComparedJob& job) {
        return job.job.has_last_evaluation() &&
               job.job.last_evaluation().step() < job.job.last_step().step();
      }));
  for (const ComparedJob& job : jobs) {
    const bool same_seed = job.job.spec().training().seed() == jobs[0].job.spec().training().seed();
    if (job.history.other_batch_step == 0 || !same_seed) continue;
    found.push_back(fmt::format("{} saw other batches than {} from step {} on",
                                ResourceId(job.job.name()), ResourceId(jobs[0].job.name()),
                                FormatInteger(job.history.other_batch_step)));
  }
  return found;
}

std::vector<std::string> FindRemarks(const std::vector<ComparedJob>& jobs,
                                     const LossTarget& target) {
  std::vector<std::string> found;
  const std::string seeds = DescribeDifference(jobs, [](const ComparedJob& job) {
    return std::to_string(job.job.spec().training().seed());
  });
  if (!seeds.empty()) found.push_back("seeds, and with them the order of the data: " + seeds);
  const std::string hosts = DescribeDifference(jobs, [](const ComparedJob& job) {
    return fmt::format("{} × {}", job.job.spec().resources().world_size(),
                       job.job.spec().resources().device());
  });
  if (!hosts.empty()) found.push_back("times do not compare, the ranks differ: " + hosts);
  for (const ComparedJob& job : jobs) {
    if (job.job.state() == v1::JOB_STATE_SUCCEEDED) continue;
    found.push_back(fmt::format("{} is {}{}; its figures are those of step {}",
                                ResourceId(job.job.name()), StateName(job.job.state()),
                                HasEnded(job.job)                         ? ""
                                : job.job.state() == v1::JOB_STATE_PAUSED ? " and may go on"
                                                                          : " and goes on",
                                FormatInteger(job.job.last_step().step())));
  }
  if (!target.loss) return found;
  found.push_back(target.held_out
                      ? fmt::format("tokens to a held-out loss of {}: as fine as the job's "
                                    "evaluations (evaluation.every_steps)",
                                    FormatFixed(*target.loss, 4))
                      : fmt::format("tokens to a training loss of {}, the mean over about {:.0f} "
                                    "steps: not every job has an evaluation",
                                    FormatFixed(*target.loss, 4), 1 / kSmoothing));
  return found;
}

}  // namespace wavefield
