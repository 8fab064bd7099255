#pragma once

#include <string>

namespace wavefield::coordinator {

// "a" of "jobs/a", and of "a".
inline std::string IdIn(const std::string& name) { return name.substr(name.rfind('/') + 1); }

}  // namespace wavefield::coordinator
