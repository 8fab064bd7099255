#pragma once

#include <string>
#include <vector>

namespace wavefield {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Text in aligned columns, for people. Control characters in cells are shown as spaces.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<std::string> cells);
  // Title line and rows, each ended by a newline, without trailing spaces.
  std::string ToString() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Lines "name   value", the values aligned.
std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace wavefield
