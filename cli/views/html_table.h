#pragma once

#include <string>
#include <vector>

#include "cli/views/table.h"

namespace wavefield {

// A table of an HTML page. All text is escaped.
class HtmlTable {
 public:
  // `id` is the element's.
  HtmlTable(std::string id, std::vector<Column> columns)
      : id_(std::move(id)), columns_(std::move(columns)) {}

  // REQUIRES: as many cells as columns.
  void AddRow(const std::vector<std::string>& cells);
  bool empty() const { return rows_.empty(); }
  std::string ToString() const;

 private:
  std::string id_;
  std::vector<Column> columns_;
  std::string rows_;
};

// `text` as a paragraph.
std::string HtmlParagraph(const std::string& text);
// A heading with what belongs under it, which is HTML; "" where there is nothing.
std::string HtmlSection(const std::string& id, const std::string& title, const std::string& html);

}  // namespace wavefield
