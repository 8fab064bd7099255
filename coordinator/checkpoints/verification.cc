#include "coordinator/checkpoints/verification.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kPieceBytes = 1 << 20;
constexpr int64_t kReportBytes = 16 << 20;

class Verification {
 public:
  Verification(const std::filesystem::path& directory, const std::function<bool(int64_t)>& progress)
      : directory_(directory), progress_(progress), buffer_(kPieceBytes, '\0') {}

  // What is wrong with the file, or "".
  absl::StatusOr<std::string> Check(const wavefield::v1::CheckpointFile& file) {
    const FileDescriptor fd(::open((directory_ / file.path()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ENOENT || errno == ENOTDIR) return std::string("is missing");
      return ErrnoToStatus(errno, "cannot read " + file.path());
    }
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return std::string("is no file");
    if (info.st_size != file.bytes()) {
      return fmt::format("has {} bytes, written were {}", info.st_size, file.bytes());
    }
    Sha256 digest;
    while (true) {
      const ssize_t count = ::read(fd.get(), buffer_.data(), buffer_.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EIO) return std::string("cannot be read: the disk reports errors");
      if (count < 0) return ErrnoToStatus(errno, "cannot read " + file.path());
      if (count == 0) break;
      digest.Update({buffer_.data(), static_cast<size_t>(count)});
      WF_RETURN_IF_ERROR(Advance(count));
    }
    return digest.HexDigest() == file.sha256() ? std::string()
                                               : "has another SHA-256 than was written";
  }

 private:
  absl::Status Advance(int64_t count) {
    const int64_t before = done_ / kReportBytes;
    done_ += count;
    if (done_ / kReportBytes == before || progress_(done_)) return absl::OkStatus();
    return absl::CancelledError("the verification was ended");
  }

  const std::filesystem::path& directory_;
  const std::function<bool(int64_t)>& progress_;
  std::string buffer_;
  int64_t done_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> FindDamage(const std::filesystem::path& directory,
                                                    const wavefield::v1::Checkpoint& checkpoint,
                                                    const std::function<bool(int64_t)>& progress) {
  Verification verification(directory, progress);
  std::vector<std::string> damage;
  for (const wavefield::v1::CheckpointFile& file : checkpoint.files()) {
    WF_ASSIGN_OR_RETURN(const std::string wrong, verification.Check(file));
    if (!wrong.empty()) damage.push_back(fmt::format("{}: {}", file.path(), wrong));
  }
  return damage;
}

}  // namespace wavefield::coordinator
