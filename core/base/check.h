#pragma once

#include <string>

namespace wavefield {

// Prints the failed condition and its place to stderr and aborts. Thread-safe.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line,
                              const std::string& message);

}  // namespace wavefield

// For programmer errors only: whatever a user, a file or the network can cause is an absl::Status.
#define WF_CHECK(condition) WF_CHECK_MSG(condition, "")
#define WF_CHECK_MSG(condition, message)                                   \
  do {                                                                     \
    if (!(condition)) [[unlikely]]                                         \
      ::wavefield::CheckFailed(#condition, __FILE__, __LINE__, (message)); \
  } while (false)
