#include "cli/views/html_table.h"

#include <fmt/format.h>

#include "cli/views/markup.h"
#include "core/base/check.h"

namespace wavefield {
namespace {

std::string Element(const char* tag, Align align, const std::string& text) {
  return fmt::format("<{0}{1}>{2}</{0}>", tag, align == Align::kRight ? " class=\"number\"" : "",
                     EscapeMarkup(text));
}

}  // namespace

void HtmlTable::AddRow(const std::vector<std::string>& cells) {
  WF_CHECK(cells.size() == columns_.size());
  rows_ += "<tr>";
  for (size_t i = 0; i < cells.size(); ++i) rows_ += Element("td", columns_[i].align, cells[i]);
  rows_ += "</tr>\n";
}

std::string HtmlTable::ToString() const {
  std::string head;
  for (const Column& column : columns_) head += Element("th", column.align, column.title);
  return fmt::format(
      "<div class=\"wide\"><table id=\"{}\">\n<thead><tr>{}</tr></thead>\n"
      "<tbody>\n{}</tbody>\n</table></div>\n",
      EscapeMarkup(id_), head, rows_);
}

std::string HtmlParagraph(const std::string& text) { return "<p>" + EscapeMarkup(text) + "</p>\n"; }

std::string HtmlSection(const std::string& id, const std::string& title, const std::string& html) {
  if (html.empty()) return "";
  return fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", EscapeMarkup(id),
                     EscapeMarkup(title), html);
}

}  // namespace wavefield
