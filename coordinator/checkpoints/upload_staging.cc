#include "coordinator/checkpoints/upload_staging.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "coordinator/checkpoints/verification.h"
#include "coordinator/cluster/random_id.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"
#include "core/checkpoint/writer.h"

namespace wavefield::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxChunkBytes = 1 << 20;
constexpr char kBegin[] = "begin";

// The directories in uploads/, "{job}.{token}".
std::vector<std::string> Stagings(const fs::path& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(root / "uploads", error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

void RemoveAll(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) spdlog::warn("cannot remove {}: {}", path.string(), error.message());
}

absl::Status Sync(const fs::path& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return ErrnoToStatus(errno, "cannot make the uploaded files durable");
  }
  return absl::OkStatus();
}

// Of anything in it, a level deep: files grow without changing their directory.
absl::Time LastChange(const fs::path& folder) {
  absl::Time last = absl::InfinitePast();
  const auto look = [&](const fs::path& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0)
      last = std::max(last, absl::TimeFromTimespec(info.st_mtim));
  };
  look(folder);
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    look(entry->path());
  }
  return last;
}

}  // namespace

absl::StatusOr<UploadStaging> UploadStaging::Open(const fs::path& storage_root,
                                                  const std::string& job,
                                                  const std::string& manifest,
                                                  const wavefield::v1::Checkpoint& checkpoint) {
  UploadStaging staging(storage_root, manifest, checkpoint);
  // Written from the message that the upload began with.
  staging.checkpoint_.mutable_files()->RemoveLast();
  WF_RETURN_IF_ERROR(staging.FindOrBegin(job));
  WF_RETURN_IF_ERROR(staging.ReadOffsets());
  WF_RETURN_IF_ERROR(staging.CheckRoomForRest());
  return staging;
}

absl::Status UploadStaging::FindOrBegin(const std::string& job) {
  for (const std::string& name : Stagings(root_)) {
    if (name.substr(0, name.rfind('.')) != job) continue;
    const auto begun = ReadFile(root_ / "uploads" / name / kBegin, kMaxManifestBytes);
    if (begun.ok() && *begun == manifest_) {
      token_ = name;
      if (moved()) return absl::OkStatus();
      return CreateDirectories(files());
    }
    RemoveAll(root_ / "uploads" / name);
  }
  token_ = fmt::format("{}.{}", job, RandomHex(12));
  WF_RETURN_IF_ERROR(CreateDirectories(files()));
  return WriteFileAtomically(folder() / kBegin, manifest_);
}

std::string UploadStaging::directory() const {
  return fmt::format("{}/{}", job_directory(),
                     CheckpointDirectoryName({static_cast<uint64_t>(checkpoint_.step()),
                                              static_cast<uint64_t>(checkpoint_.epoch())}));
}

bool UploadStaging::moved() const {
  std::error_code error;
  return fs::exists(root_ / directory() / kManifestFile, error) && !fs::exists(files(), error);
}

absl::Status UploadStaging::ReadOffsets() {
  for (const auto& file : checkpoint_.files()) {
    std::error_code error;
    const uintmax_t size = fs::file_size(files() / file.path(), error);
    const int64_t bytes = moved() ? file.bytes() : error ? 0 : static_cast<int64_t>(size);
    if (bytes > 0) offsets_[file.path()] = bytes;
  }
  return absl::OkStatus();
}

absl::Status UploadStaging::CheckRoomForRest() const {
  int64_t missing = 0;
  for (const auto& file : checkpoint_.files()) {
    const auto here = offsets_.find(file.path());
    missing += file.bytes() - (here == offsets_.end() ? 0 : here->second);
  }
  DirectoryStorage storage(root_);
  return CheckRoom(storage, static_cast<uint64_t>(std::max<int64_t>(missing, 0)));
}

absl::Status UploadStaging::Add(const wavefield::v1::UploadCheckpointRequest::Chunk& chunk) {
  const auto file = std::find_if(checkpoint_.files().begin(), checkpoint_.files().end(),
                                 [&](const auto& f) { return f.path() == chunk.path(); });
  if (file == checkpoint_.files().end()) {
    return InvalidField("chunk.path", fmt::format("is '{}', which the manifest does not name",
                                                  Shortened(chunk.path(), 100)));
  }
  if (chunk.data().empty() || chunk.data().size() > kMaxChunkBytes) {
    return InvalidField("chunk.data", fmt::format("has {} bytes; allowed: 1 to {}",
                                                  chunk.data().size(), kMaxChunkBytes));
  }
  const auto here = offsets_.find(chunk.path());
  const int64_t offset = here == offsets_.end() ? 0 : here->second;
  if (chunk.offset() != offset) {
    return InvalidField("chunk.offset",
                        fmt::format("is {}; of '{}' {} bytes are here: send it from there on",
                                    chunk.offset(), chunk.path(), offset));
  }
  if (static_cast<int64_t>(chunk.data().size()) > file->bytes() - offset) {
    return InvalidField("chunk.data",
                        fmt::format("goes beyond the {} bytes that '{}' has in the manifest",
                                    file->bytes(), chunk.path()));
  }
  if (open_path_ != chunk.path()) {
    open_file_ =
        FileDescriptor(::open((files() / chunk.path()).c_str(),
                              O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!open_file_.valid()) return ErrnoToStatus(errno, "cannot write '" + chunk.path() + "'");
    open_path_ = chunk.path();
  }
  int64_t& written = offsets_[chunk.path()];
  for (size_t done = 0; done < chunk.data().size();) {
    const ssize_t count =
        ::write(open_file_.get(), chunk.data().data() + done, chunk.data().size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoToStatus(errno, "cannot write '" + chunk.path() + "'");
    done += static_cast<size_t>(count);
    written += count;
  }
  return absl::OkStatus();
}

absl::Status UploadStaging::CheckComplete() const {
  for (const auto& file : checkpoint_.files()) {
    const auto here = offsets_.find(file.path());
    const int64_t bytes = here == offsets_.end() ? 0 : here->second;
    if (bytes == file.bytes()) continue;
    return absl::InvalidArgumentError(
        fmt::format("the upload ended after {} of the {} bytes of '{}': begin again, and send what "
                    "is missing; what is here is kept for {}",
                    bytes, file.bytes(), file.path(), absl::FormatDuration(kUploadRetention)));
  }
  return absl::OkStatus();
}

absl::Status UploadStaging::DropDamaged(const std::function<bool()>& cancelled) {
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> damage,
                      FindDamage(files(), checkpoint_, [&](int64_t) { return !cancelled(); }));
  if (damage.empty()) return absl::OkStatus();
  for (const std::string& wrong : damage) {
    ::unlink((files() / wrong.substr(0, wrong.find(':'))).c_str());
  }
  return absl::InvalidArgumentError(fmt::format(
      "{} of the files {} not what the manifest says, the first: {}; dropped here: begin again, "
      "and send {} anew",
      damage.size(), damage.size() == 1 ? "is" : "are", Shortened(damage[0], 300),
      damage.size() == 1 ? "it" : "them"));
}

absl::Status UploadStaging::MakeDurable() const {
  for (const auto& file : checkpoint_.files()) {
    WF_RETURN_IF_ERROR(Sync(files() / file.path()));
  }
  WF_RETURN_IF_ERROR(SyncDirectory(files()));
  return WriteFileAtomically(files() / kManifestFile, manifest_);
}

absl::Status UploadStaging::Complete(const std::function<bool()>& cancelled) {
  open_file_.Close();
  open_path_.clear();
  if (moved()) return absl::OkStatus();
  for (const auto& file : checkpoint_.files()) {
    if (file.bytes() == 0) WF_RETURN_IF_ERROR(WriteFileAtomically(files() / file.path(), ""));
  }
  WF_RETURN_IF_ERROR(CheckComplete());
  WF_RETURN_IF_ERROR(DropDamaged(cancelled));
  WF_RETURN_IF_ERROR(MakeDurable());
  const fs::path target = root_ / directory();
  WF_RETURN_IF_ERROR(CreateDirectories(target.parent_path()));
  if (::rename(files().c_str(), target.c_str()) != 0) {
    return ErrnoToStatus(errno, "cannot move the uploaded files to their place");
  }
  WF_RETURN_IF_ERROR(SyncDirectory(target.parent_path()));
  WF_RETURN_IF_ERROR(SyncDirectory(root_ / "checkpoints"));
  return SyncDirectory(folder());
}

void UploadStaging::Remove(bool moved) {
  if (moved) RemoveAll(root_ / job_directory());
  RemoveAll(folder());
}

void RemoveStaleUploads(const fs::path& storage_root, absl::Time now) {
  for (const std::string& name : Stagings(storage_root)) {
    const fs::path folder = storage_root / "uploads" / name;
    if (now - LastChange(folder) > kUploadRetention) RemoveAll(folder);
  }
}

}  // namespace wavefield::coordinator
