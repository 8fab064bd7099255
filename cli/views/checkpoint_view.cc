#include "cli/views/checkpoint_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/table.h"

namespace wavefield {
namespace {

constexpr size_t kShownTensors = 20;

std::string Bytes(int64_t bytes) { return FormatBytes(static_cast<double>(bytes)); }

std::string EvaluationLoss(const v1::Checkpoint& checkpoint) {
  return checkpoint.evaluated() ? FormatFixed(checkpoint.evaluation_loss(), 4) : "-";
}

// "pinned", "damaged", "pinned, damaged", "verified", or "".
Cell StateCell(const v1::Checkpoint& checkpoint) {
  const bool damaged = !checkpoint.damage().empty();
  std::string text = checkpoint.pinned() ? "pinned" : "";
  if (damaged) text += text.empty() ? "damaged" : ", damaged";
  if (text.empty() && checkpoint.has_verify_time()) text = "verified";
  return {text, damaged ? Color::kRed : checkpoint.pinned() ? Color::kBlue : Color::kNone};
}

std::string NoteAndDamage(const v1::Checkpoint& checkpoint) {
  const bool both = !checkpoint.damage().empty() && !checkpoint.note().empty();
  return checkpoint.damage() + (both ? "; " : "") + checkpoint.note();
}

}  // namespace

std::string FormatCheckpoints(const std::vector<v1::Checkpoint>& checkpoints,
                              const ViewStyle& style) {
  std::vector<Column> columns = {{"CHECKPOINT"},
                                 {"STEP", Align::kRight},
                                 {"ATTEMPT", Align::kRight},
                                 {"LOSS", Align::kRight},
                                 {"EVALUATION LOSS", Align::kRight},
                                 {"TOKENS", Align::kRight},
                                 {"SIZE", Align::kRight},
                                 {"CREATED", Align::kRight}};
  if (style.wide) {
    columns.push_back({"VERIFIED", Align::kRight});
    for (const char* title : {"PARENT", "DIRECTORY", "FINGERPRINT"}) columns.push_back({title});
  }
  columns.push_back({"STATE"});
  columns.push_back({"NOTE"});
  Table table(std::move(columns));
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    std::vector<Cell> cells = {ShortCheckpointName(checkpoint.name()),
                               FormatInteger(checkpoint.step()),
                               std::to_string(checkpoint.attempt()),
                               FormatFixed(checkpoint.loss(), 4),
                               EvaluationLoss(checkpoint),
                               FormatInteger(checkpoint.total_tokens()),
                               Bytes(checkpoint.bytes()),
                               style.When(checkpoint.create_time())};
    if (style.wide) {
      cells.insert(cells.end(),
                   {style.When(checkpoint.verify_time()), ShortCheckpointName(checkpoint.parent()),
                    checkpoint.directory(), checkpoint.fingerprint()});
    }
    cells.push_back(StateCell(checkpoint));
    cells.emplace_back(NoteAndDamage(checkpoint));
    table.AddRow(std::move(cells));
  }
  return table.ToString(style.colors);
}

std::string FormatCheckpoint(const v1::Checkpoint& checkpoint, const ViewStyle& style) {
  std::vector<std::pair<std::string, std::string>> fields;
  const auto add = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, value);
  };
  add("checkpoint", ShortCheckpointName(checkpoint.name()));
  add("step", FormatInteger(checkpoint.step()));
  add("attempt", std::to_string(checkpoint.attempt()));
  add("created", style.When(checkpoint.create_time()));
  add("size", fmt::format("{} in {} files", Bytes(checkpoint.bytes()), checkpoint.files_size()));
  add("loss", FormatFixed(checkpoint.loss(), 4));
  add("evaluation loss", checkpoint.evaluated() ? EvaluationLoss(checkpoint) : "not evaluated");
  add("tokens", FormatInteger(checkpoint.total_tokens()));
  add("pinned", checkpoint.pinned() ? "yes: retention never removes it" : "no");
  add("note", checkpoint.note());
  add("damage", checkpoint.damage());
  add("verified", checkpoint.has_verify_time() ? style.When(checkpoint.verify_time())
                                               : "not since it was written");
  add("parent", ShortCheckpointName(checkpoint.parent()));
  add("directory", checkpoint.directory());
  add("made on", checkpoint.fingerprint());
  Table files({{"FILE"}, {"SIZE", Align::kRight}, {"SHA-256"}});
  for (const v1::CheckpointFile& file : checkpoint.files()) {
    files.AddRow({file.path(), Bytes(file.bytes()), file.sha256()});
  }
  return FormatFields(fields) + "\n" + files.ToString(style.colors);
}

std::string FormatDecisions(const std::vector<v1::CheckpointDecision>& decisions, bool would,
                            const ViewStyle& style) {
  std::vector<Column> columns = {{"CHECKPOINT"},
                                 {"SIZE", Align::kRight},
                                 {"CREATED", Align::kRight},
                                 {would ? "WOULD BE" : "IS"},
                                 {"WHY"}};
  Table table(std::move(columns));
  for (const v1::CheckpointDecision& decision : decisions) {
    const v1::Checkpoint& checkpoint = decision.checkpoint();
    table.AddRow({ShortCheckpointName(checkpoint.name()), Bytes(checkpoint.bytes()),
                  style.When(checkpoint.create_time()),
                  decision.removed() ? Cell("removed", Color::kRed) : Cell("kept", Color::kGreen),
                  decision.reason()});
  }
  return table.ToString(style.colors);
}

std::string FormatOrphans(const std::vector<v1::OrphanDirectory>& orphans, const ViewStyle& style) {
  Table table({{"DIRECTORY"}, {"SIZE", Align::kRight}, {"CHANGED", Align::kRight}, {"WHY"}});
  for (const v1::OrphanDirectory& orphan : orphans) {
    table.AddRow({orphan.directory(), Bytes(orphan.bytes()), style.When(orphan.modify_time()),
                  orphan.message()});
  }
  return table.ToString(style.colors);
}

std::string FormatDiff(const v1::DiffCheckpointsResponse& diff, const ViewStyle& style) {
  std::string text = FormatCheckpoints({diff.a(), diff.b()}, style);
  if (diff.settings_size() == 0) {
    text += "\nAll settings are the same.\n";
  } else {
    Table settings({{"SETTING"}, {"A"}, {"B"}});
    for (const v1::SettingDifference& setting : diff.settings()) {
      settings.AddRow({setting.path(), setting.a().empty() ? "-" : setting.a(),
                       setting.b().empty() ? "-" : setting.b()});
    }
    text += "\n" + settings.ToString(style.colors);
  }
  std::vector<const v1::TensorDifference*> tensors;
  for (const v1::TensorDifference& tensor : diff.tensors()) tensors.push_back(&tensor);
  const auto comparable = [](const v1::TensorDifference& tensor) {
    return tensor.shape_a() == tensor.shape_b();
  };
  // Those that cannot be compared first.
  std::stable_sort(tensors.begin(), tensors.end(), [&](const auto* a, const auto* b) {
    if (comparable(*a) != comparable(*b)) return comparable(*b);
    return comparable(*a) && a->relative_distance() > b->relative_distance();
  });
  const size_t shown = style.wide ? tensors.size() : std::min(tensors.size(), kShownTensors);
  text += fmt::format("\nWeights: relative distance {} over {} tensors{}\n",
                      FormatSignificant(diff.relative_distance(), 4), tensors.size(),
                      shown < tensors.size()
                          ? fmt::format("; the {} that moved furthest (--output wide: all)", shown)
                          : "");
  Table table({{"TENSOR"},
               {"SHAPE"},
               {"RELATIVE DISTANCE", Align::kRight},
               {"DISTANCE", Align::kRight},
               {"LARGEST DIFFERENCE", Align::kRight}});
  for (size_t i = 0; i < shown; ++i) {
    const v1::TensorDifference& tensor = *tensors[i];
    const auto shape = [](const std::string& known) { return known.empty() ? "none" : known; };
    if (comparable(tensor)) {
      table.AddRow(
          {tensor.name(), tensor.shape_a(), FormatSignificant(tensor.relative_distance(), 4),
           FormatSignificant(tensor.distance(), 4), FormatSignificant(tensor.max_difference(), 4)});
    } else {
      table.AddRow({tensor.name(), shape(tensor.shape_a()) + " / " + shape(tensor.shape_b()), "-",
                    "-", "-"});
    }
  }
  return tensors.empty() ? text : text + table.ToString(style.colors);
}

}  // namespace wavefield
