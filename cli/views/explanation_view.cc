#include "cli/views/explanation_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <vector>

#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/job_view.h"
#include "cli/views/table.h"

namespace wavefield {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

constexpr int kMaxResources = 8;

std::string BlockerText(v1::Blocker::Kind kind) {
  const std::string name = v1::Blocker::Kind_Name(kind);
  return name.empty() ? fmt::format("kind {}", static_cast<int>(kind)) : EnumText(name, "KIND_");
}

std::string CauseText(v1::RootCause::Kind kind) {
  const std::string name = v1::RootCause::Kind_Name(kind);
  return name.empty() ? fmt::format("kind {}", static_cast<int>(kind)) : EnumText(name, "KIND_");
}

std::string Amount(const v1::Blocker& blocker, int64_t value) {
  return blocker.kind() == v1::Blocker::TOO_LITTLE_MEMORY ? FormatBytes(static_cast<double>(value))
                                                          : FormatInteger(value);
}

std::string Resources(const v1::Blocker& blocker) {
  std::string text;
  for (int i = 0; i < std::min(blocker.resources_size(), kMaxResources); ++i) {
    text += (i > 0 ? ", " : "") + ResourceId(blocker.resources(i));
  }
  const int more = blocker.resources_size() - kMaxResources;
  return more > 0 ? fmt::format("{} and {} more", text, more) : text;
}

std::string FormatBlockers(const v1::JobExplanation& explanation, const ViewStyle& style) {
  std::vector<Column> columns = {{"", Align::kRight},
                                 {"BLOCKER"},
                                 {"NEEDS", Align::kRight},
                                 {"THERE", Align::kRight},
                                 {"KEPT AWAY", Align::kRight},
                                 {"UNTIL", Align::kRight},
                                 {"BY"},
                                 {"WHY"}};
  Table table(std::move(columns));
  int rank = 0;
  for (const v1::Blocker& blocker : explanation.blockers()) {
    const bool counted =
        blocker.needed() != 0 || blocker.available() != 0 || blocker.blocked() != 0;
    const auto amount = [&](int64_t value) { return counted ? Amount(blocker, value) : "-"; };
    table.AddRow({std::to_string(++rank),
                  {BlockerText(blocker.kind()), Color::kYellow},
                  amount(blocker.needed()),
                  amount(blocker.available()),
                  amount(blocker.blocked()),
                  style.When(blocker.expected_end()),
                  Resources(blocker),
                  blocker.message()});
  }
  return table.ToString(style.colors);
}

std::string HowItEnded(const v1::RootCause& cause) {
  if (cause.has_signal()) {
    const char* name = sigabbrev_np(cause.signal());
    return name == nullptr ? fmt::format("signal {}", cause.signal())
                           : fmt::format("signal {} (SIG{})", cause.signal(), name);
  }
  return cause.has_exit_code() ? fmt::format("exit code {}", cause.exit_code()) : "";
}

std::string WhereItEnded(const v1::RootCause& cause) {
  std::string text = cause.rank() >= 0 ? fmt::format("rank {}", cause.rank()) : "";
  if (!cause.worker().empty()) {
    text += (text.empty() ? "worker " : " on ") + ResourceId(cause.worker());
  }
  return text;
}

std::string FormatRootCause(const v1::RootCause& cause, const ViewStyle& style) {
  Fields fields;
  const auto add = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, value);
  };
  add("root cause", CauseText(cause.kind()));
  add("attempt", fmt::format("{}, {}", cause.attempt(), style.When(cause.time())));
  add("first to fail", WhereItEnded(cause));
  add("ended with", HowItEnded(cause));
  add("during", cause.phase());
  add("last step done", FormatInteger(cause.step()));
  add("error", cause.error());
  std::string text = FormatFields(fields);
  if (cause.last_lines_size() > 0) {
    text += "its last lines:\n";
    for (const std::string& line : cause.last_lines()) text += "  " + OnOneLine(line) + "\n";
  }
  if (!cause.advice().empty()) text += "what to do: " + OnOneLine(cause.advice()) + "\n";
  return text;
}

std::string FormatEarlier(const v1::JobExplanation& explanation, const ViewStyle& style) {
  Table table({{"ATTEMPT", Align::kRight},
               {"ENDED", Align::kRight},
               {"ROOT CAUSE"},
               {"FIRST TO FAIL"},
               {"ENDED WITH"},
               {"STEP", Align::kRight},
               {"ERROR"}});
  for (const v1::RootCause& cause : explanation.earlier()) {
    table.AddRow({std::to_string(cause.attempt()), style.When(cause.time()),
                  CauseText(cause.kind()), WhereItEnded(cause), HowItEnded(cause),
                  FormatInteger(cause.step()), cause.error()});
  }
  return table.ToString(style.colors);
}

}  // namespace

std::string FormatExplanation(const v1::JobExplanation& explanation, const ViewStyle& style) {
  const v1::Job& job = explanation.job();
  const std::string state = style.colors ? Colored(StateName(job.state()), StateColor(job.state()))
                                         : StateName(job.state());
  std::string text = fmt::format("{} {}: {}\n", OnOneLine(ResourceId(job.name())), state,
                                 OnOneLine(explanation.summary()));
  if (explanation.has_expected_start()) {
    text += "should start " + style.When(explanation.expected_start()) + "\n";
  }
  if (explanation.blockers_size() > 0) text += "\n" + FormatBlockers(explanation, style);
  if (explanation.has_root_cause()) {
    text += "\n" + FormatRootCause(explanation.root_cause(), style);
  }
  if (explanation.earlier_size() > 0) {
    text += "\nEarlier attempts:\n" + FormatEarlier(explanation, style);
  }
  return text;
}

std::string FormatQueue(const v1::ListQueueResponse& queue, const ViewStyle& style) {
  std::vector<Column> columns = {{"", Align::kRight},         {"JOB"},
                                 {"RANKS", Align::kRight},    {"DEVICE"},
                                 {"PRIORITY", Align::kRight}, {"QUEUED", Align::kRight},
                                 {"STARTS", Align::kRight}};
  if (style.wide) columns.push_back({"EFFECTIVE PRIORITY", Align::kRight});
  columns.push_back({"WHY"});
  Table table(std::move(columns));
  for (const v1::QueueEntry& entry : queue.entries()) {
    std::vector<Cell> cells = {
        std::to_string(entry.position()),
        ResourceId(entry.job()),
        std::to_string(entry.world_size()),
        entry.device(),
        std::to_string(entry.priority()),
        style.When(entry.queue_time()),
        entry.has_expected_start() ? style.When(entry.expected_start()) : "not known"};
    if (style.wide) cells.emplace_back(FormatFixed(entry.effective_priority(), 2));
    const std::string reason = ReasonText(entry.reason());
    const bool both = !reason.empty() && !entry.message().empty();
    cells.emplace_back(reason + (both ? ": " : "") + entry.message());
    table.AddRow(std::move(cells));
  }
  return table.ToString(style.colors);
}

}  // namespace wavefield
