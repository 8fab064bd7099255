#pragma once

#include <cstdlib>
#include <string>

namespace wavefield {

// The environment's variable `name`; `otherwise` where it is not set, or empty.
inline std::string EnvironmentOr(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace wavefield
