#include "cli/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/status_macros.h"

namespace wavefield {

absl::StatusOr<FileDescriptor> MemoryFile(const std::string& contents) {
  FileDescriptor fd(::memfd_create("wavefield", MFD_CLOEXEC));
  if (!fd.valid()) return ErrnoToStatus(errno, "cannot create a file in memory");
  WF_RETURN_IF_ERROR(WriteAll(fd.get(), "a file in memory", contents));
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) {
    return ErrnoToStatus(errno, "cannot rewind a file in memory");
  }
  return fd;
}

}  // namespace wavefield
