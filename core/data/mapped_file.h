#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/statusor.h"

namespace wavefield {

// A whole file mapped read-only; unmapped on destruction. Reading is thread-safe. A file that
// others shorten while it is mapped ends the process with SIGBUS on access beyond its new end.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::string_view bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::string_view bytes) : bytes_(bytes) {}
  std::string_view bytes_;
};

}  // namespace wavefield
