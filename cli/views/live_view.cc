#include "cli/views/live_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/str_split.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/escaped_text.h"
#include "cli/views/format.h"
#include "cli/views/job_progress.h"
#include "cli/views/job_view.h"
#include "cli/views/progress_bar.h"
#include "core/base/text.h"

namespace wavefield {
namespace {

using Parts = std::vector<std::string>;

constexpr size_t kLabelWidth = 12;
constexpr int kMaxBar = 40;
constexpr int kMaxSparkline = 64;
constexpr size_t kAveragedSteps = 20;
constexpr size_t kMaxWorkers = 8;
constexpr int kMaxWarnings = 3;
constexpr absl::Duration kSilence = absl::Seconds(30);

constexpr std::array kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array kLetters = {".", ":", "-", "=", "+", "*", "#", "@"};

// Lines of "label   part  part", a part that does not fit begins another line.
class Page {
 public:
  explicit Page(int width) : width_(width) {}

  int room() const { return std::max(1, width_ - static_cast<int>(kLabelWidth)); }
  void AddLine(const std::string& line) { lines_.push_back(CutToWidth(line, width_)); }
  void AddRow(const std::string& label, const Parts& parts) {
    std::string line = label;
    bool empty = true;
    for (const std::string& part : parts) {
      if (part.empty()) continue;
      const bool fits = DisplayWidth(line) + 2 + DisplayWidth(part) <= static_cast<size_t>(width_);
      if (!empty && !fits) {
        AddLine(line);
        line.clear();
        empty = true;
      }
      line += empty ? std::string(kLabelWidth - std::min(kLabelWidth, line.size()), ' ') : "  ";
      line += part;
      empty = false;
    }
    if (!empty) AddLine(line);
  }
  std::vector<std::string> TakeLines() { return std::move(lines_); }

 private:
  int width_;
  std::vector<std::string> lines_;
};

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string Percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

struct Speed {
  double step_seconds = 0;
  double tokens_per_second = 0;
};

Speed AverageSpeed(const LiveState& state) {
  double seconds = 0, tokens = 0;
  const size_t count = std::min(state.recent.size(), kAveragedSteps);
  for (size_t i = state.recent.size() - count; i < state.recent.size(); ++i) {
    seconds += state.recent[i].step_seconds();
    tokens += static_cast<double>(state.recent[i].tokens());
  }
  if (count == 0 || !(seconds > 0)) return {};
  return {seconds / static_cast<double>(count), tokens / seconds};
}

std::string Title(const v1::Job& job) {
  const std::string why =
      job.state_message().empty() ? ReasonText(job.reason()) : EscapedText(MessageOf(job));
  return fmt::format("{}  {}{}{}", EscapedText(ResourceId(job.name())), StateName(job.state()),
                     why.empty() ? "" : ": ", why);
}

std::string Elapsed(const v1::Job& job, absl::Time now) {
  if (!job.has_start_time()) return FormatAge(job.create_time(), now);
  return FormatAge(job.start_time(), job.has_end_time() ? ToTime(job.end_time()) : now);
}

void AddProgress(const LiveState& state, const Speed& speed, int width, Page& page) {
  const v1::Job& job = state.job;
  const v1::StepMetrics& step = job.last_step();
  const JobCompletion completion = EstimateCompletion(job, step, speed.step_seconds);
  std::string text = "step " + FormatInteger(step.step());
  if (job.max_steps() > 0) text += "/" + FormatInteger(job.max_steps());
  if (completion.fraction >= 0) text = Percent(completion.fraction) + "  " + text;
  if (!HasEnded(job) && speed.step_seconds > 0 && completion.remaining_seconds >= 0) {
    text += "  ETA " + FormatDuration(completion.remaining_seconds);
  }
  const int room = width - static_cast<int>(text.size()) - 2;
  if (completion.fraction >= 0 && room >= 8) {
    text = RenderBar(completion.fraction, std::min(room, kMaxBar)) + "  " + text;
  }
  page.AddLine(text);
}

Parts PhaseParts(const LiveState& state) {
  std::map<int, double> seconds;  // by field number
  const google::protobuf::Descriptor& phases = *v1::PhaseSeconds::descriptor();
  double total = 0;
  for (const v1::StepMetrics& step : state.recent) {
    for (int i = 0; i < phases.field_count(); ++i) {
      const double value =
          step.phase_seconds().GetReflection()->GetDouble(step.phase_seconds(), phases.field(i));
      seconds[i] += value;
      total += value;
    }
  }
  Parts parts;
  for (const auto& [i, value] : seconds) {
    if (total > 0 && value >= 0.005 * total) {
      parts.push_back(phases.field(i)->name() + " " + Percent(value / total));
    }
  }
  return parts;
}

// "0-3,6".
std::string Ranges(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", ranks[i]);
    if (end > i + 1) text += fmt::format("-{}", ranks[end - 1]);
    i = end;
  }
  return text;
}

Parts RankParts(const v1::Job& job) {
  const int world_size = job.spec().resources().world_size();
  std::map<std::string, std::vector<int>> ranks;
  for (const v1::RankPlacement& placement : job.placements()) {
    ranks[ResourceId(placement.worker())].push_back(placement.rank());
  }
  Parts parts = {std::to_string(world_size)};
  if (ranks.empty()) return parts;
  parts[0] += ":";
  for (auto& [worker, of_worker] : ranks) {
    if (parts.size() > kMaxWorkers) {
      parts.push_back(fmt::format("and {} more workers", ranks.size() - kMaxWorkers));
      break;
    }
    std::sort(of_worker.begin(), of_worker.end());
    parts.push_back(fmt::format("{} on {}", Ranges(of_worker), EscapedText(worker)));
  }
  const v1::StepMetrics& step = job.last_step();
  if (world_size > 1 && job.has_last_step()) {
    parts.push_back(fmt::format("skew {}, slowest rank {}",
                                FormatDuration(step.rank_skew_seconds()), step.slowest_rank()));
  }
  return parts;
}

void AddLastStep(const LiveState& state, const Speed& speed, const LiveLayout& layout,
                 absl::Time now, Page& page) {
  const v1::StepMetrics& step = state.job.last_step();
  page.AddRow("loss",
              {FormatFixed(step.loss(), 4), "perplexity " + FormatFixed(step.perplexity(), 2),
               "accuracy " + FormatFixed(100 * step.accuracy(), 1) + " %"});
  std::vector<double> losses;
  for (const v1::StepMetrics& recent : state.recent) losses.push_back(recent.loss());
  if (losses.size() > 1) {
    page.AddRow("", {RenderSparkline(losses, std::min(page.room(), kMaxSparkline), layout.unicode),
                     fmt::format("steps {} to {}", FormatInteger(state.recent.front().step()),
                                 FormatInteger(state.recent.back().step()))});
  }
  page.AddRow("speed", {FormatCompact(speed.tokens_per_second) + " tokens/s",
                        FormatDuration(speed.step_seconds) + " a step",
                        "rate ratio " + FormatFixed(step.matmul_rate_ratio(), 2)});
  const absl::Duration silence = now - state.last_step_at;
  if (state.job.state() == v1::JOB_STATE_RUNNING &&
      silence > std::max(kSilence, 5 * absl::Seconds(speed.step_seconds))) {
    page.AddRow("", {"no step for " + FormatDuration(absl::ToDoubleSeconds(silence))});
  }
  page.AddRow("optimizer", {"learning rate " + FormatSignificant(step.learning_rate(), 4),
                            "gradient norm " + FormatSignificant(step.grad_norm(), 4)});
  page.AddRow("step time", PhaseParts(state));
}

void AddHistory(const v1::Job& job, Page& page) {
  if (job.has_last_evaluation()) {
    page.AddRow("held out", absl::StrSplit(FormatEvaluation(job.last_evaluation()), "  "));
  }
  page.AddRow("ranks", RankParts(job));
  if (const v1::Goodput& goodput = job.goodput(); goodput.total() > 0) {
    const auto total = static_cast<double>(goodput.total());
    page.AddRow("goodput",
                {Percent(static_cast<double>(goodput.useful_steps()) / total) + " useful steps",
                 "of " + FormatDuration(total / 1000) + " of slots"});
  }
  if (!job.latest_checkpoint().empty()) {
    page.AddRow("checkpoint", {EscapedText(ShortCheckpointName(job.latest_checkpoint()))});
  }
  if (job.restarts() > 0) {
    page.AddRow("restarts",
                {fmt::format("{} of {}", job.restarts(), job.spec().restart().max_restarts())});
  }
  for (int i = std::max(0, job.warnings_size() - kMaxWarnings); i < job.warnings_size(); ++i) {
    page.AddRow("warning", {EscapedText(FirstLine(job.warnings(i)))});
  }
}

}  // namespace

void LiveState::AddStep(const v1::StepMetrics& step) {
  if (!recent.empty() && step.attempt() < recent.back().attempt()) return;
  while (!recent.empty() && recent.back().step() >= step.step()) recent.pop_back();
  recent.push_back(step);
  if (recent.size() > kRecentSteps) recent.pop_front();
}

void LiveState::Apply(const v1::WatchJobResponse& update, absl::Time now) {
  lost_connection.clear();
  if (update.has_job()) job = update.job();
  for (const v1::StepMetrics& step : update.steps()) {
    AddStep(step);
    *job.mutable_last_step() = step;
    last_step_at = now;
  }
  for (const v1::EvaluationResult& evaluation : update.evaluations()) {
    *job.mutable_last_evaluation() = evaluation;
  }
}

std::string RenderSparkline(const std::vector<double>& values, int width, bool unicode) {
  const size_t cells = std::min(values.size(), static_cast<size_t>(std::max(width, 0)));
  // Neither sums nor differences of doubles overflow it.
  using Wide = long double;
  static_assert(std::numeric_limits<Wide>::max_exponent >
                std::numeric_limits<double>::max_exponent);
  std::vector<Wide> means;
  for (size_t cell = 0; cell < cells; ++cell) {
    const size_t begin = cell * values.size() / cells, end = (cell + 1) * values.size() / cells;
    Wide sum = 0;
    for (size_t i = begin; i < end; ++i) sum += values[i];
    means.push_back(sum / static_cast<Wide>(end - begin));
  }
  Wide low = HUGE_VAL, high = -HUGE_VAL;
  for (const Wide mean : means) {
    if (!std::isfinite(mean)) continue;
    low = std::min(low, mean);
    high = std::max(high, mean);
  }
  const auto& marks = unicode ? kBlocks : kLetters;
  std::string text;
  for (const Wide mean : means) {
    const Wide height = high > low ? (mean - low) / (high - low) : 0;
    text += std::isfinite(mean) ? marks[static_cast<size_t>(std::lround(height * 7))] : "!";
  }
  return text;
}

std::vector<std::string> RenderLiveView(const LiveState& state, const LiveLayout& layout,
                                        absl::Time now) {
  const v1::Job& job = state.job;
  Page page(layout.width);
  const std::string elapsed = Elapsed(job, now);
  const int title_room = layout.width - static_cast<int>(elapsed.size()) - 2;
  const std::string title = CutToWidth(Title(job), std::max(title_room, 0));
  const int gap = title_room + 2 - static_cast<int>(DisplayWidth(title));
  page.AddLine(title + std::string(static_cast<size_t>(std::max(gap, 0)), ' ') + elapsed);
  if (!state.lost_connection.empty()) {
    page.AddRow("connection",
                {"lost, trying to get it back: " + EscapedText(state.lost_connection)});
  }
  if (job.has_last_step()) {
    const Speed speed = AverageSpeed(state);
    AddProgress(state, speed, layout.width, page);
    AddLastStep(state, speed, layout, now, page);
  }
  AddHistory(job, page);
  return page.TakeLines();
}

}  // namespace wavefield
