#include "cli/views/table.h"

#include <algorithm>

#include "cli/views/display_text.h"
#include "core/base/check.h"

namespace wavefield {
namespace {

const char* Sequence(Color color) {
  switch (color) {
    case Color::kRed:
      return "\x1b[31m";
    case Color::kGreen:
      return "\x1b[32m";
    case Color::kYellow:
      return "\x1b[33m";
    case Color::kBlue:
      return "\x1b[34m";
    case Color::kDim:
      return "\x1b[2m";
    case Color::kNone:
      break;
  }
  return "";
}

}  // namespace

void Table::AddRow(std::vector<Cell> cells) {
  WF_CHECK(cells.size() == columns_.size());
  for (Cell& cell : cells) cell.text = OnOneLine(cell.text);
  rows_.push_back(std::move(cells));
}

std::string Table::ToString(bool colors) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(DisplayWidth(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i].text));
    }
  }
  std::string text;
  const auto add_cell = [&](size_t i, const Cell& cell) {
    const std::string padding(widths[i] - DisplayWidth(cell.text), ' ');
    const std::string shown = colors ? Colored(cell.text, cell.color) : cell.text;
    if (i > 0) text += "  ";
    text += columns_[i].align == Align::kRight ? padding + shown : shown + padding;
  };
  const auto end_line = [&] {
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  };
  for (size_t i = 0; i < columns_.size(); ++i) add_cell(i, columns_[i].title);
  end_line();
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) add_cell(i, row[i]);
    end_line();
  }
  return text;
}

std::string Colored(const std::string& text, Color color) {
  if (color == Color::kNone || text.empty()) return text;
  return Sequence(color) + text + "\x1b[0m";
}

std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, DisplayWidth(name));
  std::string text;
  for (const auto& [name, value] : fields) {
    text += name + std::string(width - DisplayWidth(name) + 2, ' ') + OnOneLine(value) + '\n';
  }
  return text;
}

}  // namespace wavefield
