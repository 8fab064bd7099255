#include "cli/output_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "core/base/file.h"

namespace wavefield {

absl::Status WriteOutput(const std::string& path, const std::string& contents) {
  if (path == "-") {
    const bool written =
        std::fwrite(contents.data(), 1, contents.size(), stdout) == contents.size() &&
        std::fflush(stdout) == 0;
    return written ? absl::OkStatus() : ErrnoToStatus(errno, "cannot write to the standard output");
  }
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  // A file beside it is renamed to it, which would put an end to a device or a pipe.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError(
        fmt::format("'{}' is no file; '-' stands for the standard output", path));
  }
  return WriteFileAtomically(path, contents);
}

}  // namespace wavefield
