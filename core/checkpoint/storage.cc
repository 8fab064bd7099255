#include "core/checkpoint/storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPath = 1024;
constexpr size_t kMaxComponent = 255;

// mkdir -p, after which every directory that was made survives a crash of the machine.
absl::Status CreateDurableDirectories(const fs::path& directory) {
  struct stat info {};
  if (::stat(directory.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
  const fs::path parent = directory.parent_path();
  if (!parent.empty() && parent != directory) WF_RETURN_IF_ERROR(CreateDurableDirectories(parent));
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return ErrnoToStatus(errno, "cannot create directory " + directory.string());
  }
  return SyncDirectory(parent.empty() ? "." : parent);
}

class FileWriter final : public StorageWriter {
 public:
  FileWriter(FileDescriptor fd, fs::path path) : fd_(std::move(fd)), path_(std::move(path)) {}

  ~FileWriter() override {
    if (fd_.valid()) ::unlink(path_.c_str());
  }

  absl::Status Append(std::string_view data) override {
    hash_.Update(data);
    bytes_ += data.size();
    return WriteAll(fd_.get(), path_, data);
  }

  absl::StatusOr<WrittenFile> Finish() override {
    if (::fsync(fd_.get()) != 0) return ErrnoToStatus(errno, "cannot sync " + path_.string());
    WF_RETURN_IF_ERROR(SyncDirectory(path_.parent_path()));
    fd_.Close();
    return WrittenFile{bytes_, hash_.HexDigest()};
  }

 private:
  FileDescriptor fd_;
  const fs::path path_;
  Sha256 hash_;
  uint64_t bytes_ = 0;
};

std::string ProbePath(const std::string& token) { return JoinStoragePath("probes", token); }

}  // namespace

absl::Status ValidateStoragePath(const std::string& path) {
  const auto refuse = [&](const std::string& reason) {
    return absl::InvalidArgumentError(
        absl::StrCat("storage path '", path.substr(0, 200), "' ", reason));
  };
  if (path.size() > kMaxPath) {
    return refuse(absl::StrCat("has ", path.size(), " bytes; the limit is ", kMaxPath));
  }
  for (const std::string& component : std::vector<std::string>(absl::StrSplit(path, '/'))) {
    if (component.empty()) return refuse("is empty, absolute, or has an empty component");
    if (component == "." || component == "..") return refuse("has a component '.' or '..'");
    if (component.size() > kMaxComponent) {
      return refuse(absl::StrCat("has a component of ", component.size(), " bytes; the limit is ",
                                 kMaxComponent));
    }
    for (const unsigned char c : component) {
      if (!absl::ascii_isalnum(c) && c != '.' && c != '_' && c != '-') {
        return refuse("may hold letters, digits, '.', '_', '-' and '/' only");
      }
    }
  }
  return absl::OkStatus();
}

std::string JoinStoragePath(const std::string& directory, const std::string& name) {
  return directory + "/" + name;
}

DirectoryStorage::DirectoryStorage(fs::path root) : root_(fs::absolute(std::move(root))) {}

absl::StatusOr<fs::path> DirectoryStorage::LocalPath(const std::string& path) {
  WF_RETURN_IF_ERROR(ValidateStoragePath(path));
  return root_ / path;
}

absl::StatusOr<std::unique_ptr<StorageWriter>> DirectoryStorage::Create(const std::string& path) {
  WF_ASSIGN_OR_RETURN(const fs::path local, LocalPath(path));
  WF_RETURN_IF_ERROR(CreateDurableDirectories(local.parent_path()));
  FileDescriptor fd(::open(local.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoToStatus(errno, "cannot create " + local.string());
  return std::make_unique<FileWriter>(std::move(fd), local);
}

absl::Status DirectoryStorage::WriteFileAtomically(const std::string& path,
                                                   std::string_view contents) {
  WF_ASSIGN_OR_RETURN(const fs::path local, LocalPath(path));
  WF_RETURN_IF_ERROR(CreateDurableDirectories(local.parent_path()));
  return wavefield::WriteFileAtomically(local, contents);
}

absl::StatusOr<std::string> DirectoryStorage::Read(const std::string& path, uint64_t limit) {
  WF_ASSIGN_OR_RETURN(const fs::path local, LocalPath(path));
  return ReadFile(local, limit);
}

absl::StatusOr<uint64_t> DirectoryStorage::FileSize(const std::string& path) {
  WF_ASSIGN_OR_RETURN(const fs::path local, LocalPath(path));
  struct stat info {};
  if (::stat(local.c_str(), &info) != 0) {
    return ErrnoToStatus(errno, "cannot stat " + local.string());
  }
  if (!S_ISREG(info.st_mode)) return absl::NotFoundError(local.string() + " is not a file");
  return static_cast<uint64_t>(info.st_size);
}

absl::StatusOr<std::vector<std::string>> DirectoryStorage::List(const std::string& directory) {
  WF_ASSIGN_OR_RETURN(const fs::path local, LocalPath(directory));
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entry(local, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (ValidateStoragePath(name).ok()) names.push_back(name);
  }
  if (error == std::errc::no_such_file_or_directory) return std::vector<std::string>();
  if (error) return ErrnoToStatus(error.value(), "cannot list " + local.string());
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status DirectoryStorage::Delete(const std::string& path) {
  WF_ASSIGN_OR_RETURN(const fs::path local, LocalPath(path));
  std::error_code error;
  const auto removed = fs::remove_all(local, error);
  if (error) return ErrnoToStatus(error.value(), "cannot delete " + local.string());
  return removed == 0 ? absl::OkStatus() : SyncDirectory(local.parent_path());
}

absl::StatusOr<uint64_t> DirectoryStorage::FreeBytes() {
  WF_RETURN_IF_ERROR(CreateDurableDirectories(root_));
  struct statvfs info {};
  if (::statvfs(root_.c_str(), &info) != 0) {
    return ErrnoToStatus(errno, "cannot stat the file system of " + root_.string());
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

absl::Status WriteProbe(Storage& storage, const std::string& token) {
  return storage.WriteFileAtomically(ProbePath(token), token);
}

absl::Status CheckProbe(Storage& storage, const std::string& token) {
  const absl::StatusOr<std::string> found = storage.Read(ProbePath(token), kMaxComponent);
  if (found.ok() && *found == token) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the storage root here is not the one the probe '", token,
      "' was written to; every worker and the coordinator must be given the same directory",
      found.ok() ? "" : absl::StrCat(": ", found.status().message())));
}

absl::Status RemoveProbe(Storage& storage, const std::string& token) {
  return storage.Delete(ProbePath(token));
}

}  // namespace wavefield
