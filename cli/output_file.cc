#include "cli/output_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "absl/strings/str_replace.h"
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
  const absl::Status written = WriteFileAtomically(path, contents);
  if (written.ok()) return written;
  // Of the file that was asked for, not of the temporary one beside it.
  return absl::Status(
      written.code(),
      absl::StrReplaceAll(written.message(), {{fmt::format("{}.tmp.{}", path, ::getpid()), path}}));
}

}  // namespace wavefield
