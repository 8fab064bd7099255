#include "tests/coordinator/scrape.h"

#include <civetweb.h>

#include <regex>
#include <sstream>

namespace wavefield::coordinator {

HttpAnswer HttpGet(int port, const std::string& path, const std::string& method) {
  char error[200] = "";
  mg_connection* connection =
      mg_download("127.0.0.1", port, 0, error, sizeof(error),
                  "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method.c_str(),
                  path.c_str());
  if (connection == nullptr) return {0, error};
  HttpAnswer answer;
  answer.code = mg_get_response_info(connection)->status_code;
  char buffer[1 << 16];
  for (int count; (count = mg_read(connection, buffer, sizeof(buffer))) > 0;) {
    answer.body.append(buffer, static_cast<size_t>(count));
  }
  mg_close_connection(connection);
  return answer;
}

std::optional<double> ValueOf(const std::string& page, const std::string& series) {
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(series + " ", 0) == 0) return std::stod(line.substr(series.size() + 1));
  }
  return std::nullopt;
}

std::map<std::string, FamilyShape> FamiliesOfPage(const std::string& page) {
  std::map<std::string, FamilyShape> families;
  std::istringstream lines(page);
  FamilyShape* family = nullptr;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string sign, what, name, type;
    words >> sign >> what >> name >> type;
    if (sign == "#") {
      family = &families[name];
      if (what == "TYPE") family->type = type;
      continue;
    }
    static const std::regex kLabel("[{,]([a-z_]+)=\"");
    for (std::sregex_iterator label(line.begin(), line.end(), kLabel), end; label != end; ++label) {
      if ((*label)[1] != "le") family->labels.insert((*label)[1]);
    }
  }
  return families;
}

std::map<std::string, FamilyShape> FamiliesOfDocument(const std::string& markdown) {
  std::map<std::string, FamilyShape> families;
  std::istringstream lines(markdown);
  static const std::regex kRow("^\\| `([a-z_]+)` \\| ([a-z]+) \\| ([a-z_, ]*?) ?\\|.*");
  static const std::regex kWord("[a-z_]+");
  for (std::string line; std::getline(lines, line);) {
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) continue;
    FamilyShape& family = families[row[1]];
    family.type = row[2];
    const std::string labels = row[3];
    for (std::sregex_iterator label(labels.begin(), labels.end(), kWord), end; label != end;
         ++label) {
      family.labels.insert(label->str());
    }
  }
  return families;
}

}  // namespace wavefield::coordinator
