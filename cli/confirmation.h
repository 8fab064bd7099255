#pragma once

#include <string>

#include "absl/status/status.h"

namespace wavefield {

// Asks on the terminal before something is destroyed: `question` as in "Delete 3 jobs?". OK when it
// is answered with yes, or `yes` (the flag --yes) says so beforehand. CANCELLED when it is answered
// otherwise; INVALID_ARGUMENT where there is no terminal to ask on.
absl::Status ConfirmDestruction(const std::string& question, bool yes);

}  // namespace wavefield
