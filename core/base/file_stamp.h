#pragma once

#include <cstdint>
#include <filesystem>

namespace wavefield {

// Tells one state of a file from another: stamps are equal while the file at a path is the same one
// and was not written. Of a file that cannot be looked at: {}.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t bytes = 0;
  int64_t modified_ns = 0;

  bool operator==(const FileStamp&) const = default;
};

// Take it before the file is read, so that what is written meanwhile is seen the next time.
FileStamp StampOf(const std::filesystem::path& path);

}  // namespace wavefield
