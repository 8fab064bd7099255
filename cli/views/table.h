#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace wavefield {

enum class Align { kLeft, kRight };

enum class Color { kNone, kRed, kGreen, kYellow, kBlue, kDim };

struct Cell {
  template <typename Text>
  requires std::is_convertible_v<Text, std::string> Cell(
      Text&& text, Color color = Color::kNone)  // NOLINT: a cell is its text
      : text(std::forward<Text>(text)), color(color) {}

  std::string text;
  Color color;
};

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Text in aligned columns, for people. Control characters in cells are shown as spaces.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<Cell> cells);
  // Title line and rows, each ended by a newline, without trailing spaces. `colors`: with the
  // terminal's escape sequences.
  std::string ToString(bool colors = false) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// `text` in `color`, by the terminal's escape sequences.
std::string Colored(const std::string& text, Color color);

// Lines "name   value", the values aligned; control characters are shown as spaces.
std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace wavefield
