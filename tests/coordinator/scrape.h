#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

namespace wavefield::coordinator {

struct HttpAnswer {
  int code = 0;  // 0: there was none
  std::string body;
};

// From a server on this host.
HttpAnswer HttpGet(int port, const std::string& path, const std::string& method = "GET");

// The value on the page's line "series value", with the labels as they stand there.
std::optional<double> ValueOf(const std::string& page, const std::string& series);

// What a page says of its families, or docs/metrics.md of what pages say: type, and the names of
// the labels that occur, but "le".
struct FamilyShape {
  std::string type;
  std::set<std::string> labels;
  bool operator==(const FamilyShape&) const = default;
};
std::map<std::string, FamilyShape> FamiliesOfPage(const std::string& page);
std::map<std::string, FamilyShape> FamiliesOfDocument(const std::string& markdown);

}  // namespace wavefield::coordinator
