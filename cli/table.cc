#include "cli/table.h"

#include <algorithm>

#include "cli/display_text.h"
#include "core/base/check.h"

namespace wavefield {
namespace {

std::string Printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

}  // namespace

void Table::AddRow(std::vector<std::string> cells) {
  WF_CHECK(cells.size() == columns_.size());
  for (std::string& cell : cells) cell = Printable(std::move(cell));
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(DisplayWidth(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text;
  const auto add_cell = [&](size_t i, const std::string& cell) {
    const std::string padding(widths[i] - DisplayWidth(cell), ' ');
    if (i > 0) text += "  ";
    text += columns_[i].align == Align::kRight ? padding + cell : cell + padding;
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

std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, DisplayWidth(name));
  std::string text;
  for (const auto& [name, value] : fields) {
    text += name + std::string(width - DisplayWidth(name) + 2, ' ') + Printable(value) + '\n';
  }
  return text;
}

}  // namespace wavefield
