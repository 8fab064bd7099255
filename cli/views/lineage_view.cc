#include <fmt/format.h>

#include <map>
#include <vector>

#include "cli/resource_names.h"
#include "cli/views/checkpoint_view.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/table.h"

namespace wavefield {
namespace {

// Draws a forest. What goes on from a checkpoint is on the lines below it: at the same depth where
// it is one checkpoint of the same job, otherwise as branches.
class Tree {
 public:
  Tree(const v1::Lineage& lineage, const std::string& name, const ViewStyle& style)
      : name_(name), style_(style) {
    for (const v1::LineageNode& node : lineage.nodes()) nodes_[node.name()] = &node;
    for (const v1::LineageNode& node : lineage.nodes()) {
      if (nodes_[node.name()] != &node) continue;  // named twice
      const bool root = node.parent() == node.name() || !nodes_.contains(node.parent());
      children_[root ? "" : node.parent()].push_back(&node);
    }
  }

  std::string Draw() {
    // A stack, for chains may be longer than calls may be deep.
    struct Line {
      const v1::LineageNode* node;
      std::string prefix;  // of its own line
      std::string below;   // of those under it
    };
    std::vector<Line> stack;
    const auto push_children = [&](const Line& parent) {
      const std::vector<const v1::LineageNode*>& children = children_[parent.node->name()];
      if (children.size() == 1 && !children[0]->fork()) {
        stack.push_back({children[0], parent.below, parent.below});
        return;
      }
      for (auto child = children.rbegin(); child != children.rend(); ++child) {
        const bool last = child == children.rbegin();
        stack.push_back({*child, parent.below + Mark(last ? "└─ " : "├─ ", last ? "`- " : "|- "),
                         parent.below + (last ? "   " : Mark("│  ", "|  "))});
      }
    };
    for (const v1::LineageNode* root : children_[""]) {
      if (!text_.empty()) text_ += "\n";
      stack.push_back({root, "", ""});
      while (!stack.empty()) {
        const Line line = stack.back();
        stack.pop_back();
        text_ += line.prefix + Mark("● ", "o ") + Describe(*line.node) + "\n";
        push_children(line);
      }
    }
    return text_;
  }

 private:
  const char* Mark(const char* drawn, const char* plain) const {
    return style_.unicode ? drawn : plain;
  }

  std::string Describe(const v1::LineageNode& node) const {
    const std::string short_name = OnOneLine(ShortCheckpointName(node.name()));
    const bool own = node.name() == name_ || node.name().starts_with(name_ + "/");
    std::string text = own && style_.colors ? Colored(short_name, Color::kGreen) : short_name;
    text += fmt::format("  attempt {}  loss {}", node.attempt(), FormatFixed(node.loss(), 4));
    if (node.evaluation_loss() != 0) {
      text += "  evaluation " + FormatFixed(node.evaluation_loss(), 4);
    }
    if (node.has_create_time()) text += "  " + style_.When(node.create_time());
    if (node.fork()) text += "  fork";
    if (node.pinned()) text += "  pinned";
    if (node.removed()) text += "  removed";
    if (own) text += "  *";
    return text;
  }

  const std::string& name_;
  const ViewStyle& style_;
  std::map<std::string, const v1::LineageNode*> nodes_;
  std::map<std::string, std::vector<const v1::LineageNode*>> children_;
  std::string text_;
};

}  // namespace

std::string FormatLineage(const v1::Lineage& lineage, const std::string& name,
                          const ViewStyle& style) {
  return Tree(lineage, name, style).Draw();
}

}  // namespace wavefield
