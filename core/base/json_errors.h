#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace wavefield {

// What the library says of an error, without its own name for it ("[json.exception.…] ").
inline std::string JsonErrorText(const nlohmann::json::exception& error) {
  const std::string what = error.what();
  const size_t end = what.starts_with('[') ? what.find("] ") : std::string::npos;
  return end == std::string::npos ? what : what.substr(end + 2);
}

}  // namespace wavefield
