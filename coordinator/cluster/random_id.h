#pragma once

#include <string>

namespace wavefield::coordinator {

// Hexadecimal digits from the system's source of randomness.
std::string RandomHex(int digits);

}  // namespace wavefield::coordinator
