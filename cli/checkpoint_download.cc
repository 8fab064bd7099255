#include "cli/checkpoint_download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "absl/strings/str_split.h"
#include "cli/reconnection.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr char kManifest[] = "manifest.json";
constexpr int kMaxFiles = 10000;
constexpr size_t kMaxPathBytes = 512;
constexpr absl::Duration kReconnectFor = absl::Minutes(1);

// One file of the checkpoint on its way to this host.
struct PartialFile {
  v1::CheckpointFile description;
  fs::path target;
  fs::path partial;
  int64_t received = 0;
  bool at_target = false;  // complete under its own name
  FileDescriptor fd;

  bool complete() const { return received == description.bytes(); }
};

absl::Status ProtocolError(const std::string& what) {
  return absl::DataLossError("the coordinator's download makes no sense: " + what);
}

absl::StatusOr<bool> HasChecksum(const fs::path& path, const v1::CheckpointFile& file) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(path, error))) return false;
  if (static_cast<int64_t>(fs::file_size(path, error)) != file.bytes()) return false;
  WF_ASSIGN_OR_RETURN(const std::string sha256, Sha256HexOfFile(path));
  return sha256 == file.sha256();
}

// Refuses a directory that holds another checkpoint; one that is not complete has no manifest.
absl::Status CheckDirectory(const fs::path& directory, const v1::Checkpoint& checkpoint) {
  const fs::path manifest = directory / kManifest;
  std::error_code error;
  if (!fs::exists(fs::symlink_status(manifest, error))) return absl::OkStatus();
  for (const v1::CheckpointFile& file : checkpoint.files()) {
    if (file.path() != kManifest) continue;
    WF_ASSIGN_OR_RETURN(const bool same, HasChecksum(manifest, file));
    if (same) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      fmt::format("{} holds another checkpoint than {}: its {} differs; choose another "
                  "directory, or remove what is there",
                  directory.string(), checkpoint.name(), kManifest));
}

class Download {
 public:
  Download(const Session& session, fs::path directory,
           std::function<void(int64_t, int64_t)> on_progress)
      : session_(session), directory_(std::move(directory)), on_progress_(std::move(on_progress)) {}

  // Looks at what is here already.
  absl::Status Prepare(const v1::Checkpoint& checkpoint) {
    checkpoint_ = checkpoint;
    if (checkpoint.files_size() > kMaxFiles) {
      return ProtocolError(
          fmt::format("{} files; at most {} are accepted", checkpoint.files_size(), kMaxFiles));
    }
    WF_RETURN_IF_ERROR(CreateDirectories(directory_));
    for (const v1::CheckpointFile& file : checkpoint.files()) WF_RETURN_IF_ERROR(PrepareFile(file));
    return absl::OkStatus();
  }

  // Fetches what is missing; a connection that breaks is taken up again.
  absl::Status Fetch() {
    Reconnection reconnection(session_, kReconnectFor, "the same command continues the download");
    reconnection.Connected();  // it has just said what to fetch
    while (!complete()) {
      const int64_t before = here_;
      WF_ASSIGN_OR_RETURN(const grpc::Status status, Stream());
      if (complete()) break;
      if (status.ok()) return ProtocolError("it ended before all files were complete");
      if (here_ > before) reconnection.Connected();
      WF_RETURN_IF_ERROR(reconnection.AwaitRetry(status));
    }
    return absl::OkStatus();
  }

  absl::Status Verify() {
    for (auto& [path, file] : files_) {
      if (file.at_target) continue;
      if (file.fd.valid() && ::fsync(file.fd.get()) != 0) {
        return ErrnoToStatus(errno, "cannot sync " + file.partial.string());
      }
      file.fd.Close();
      WF_ASSIGN_OR_RETURN(const bool good, HasChecksum(file.partial, file.description));
      if (good) continue;
      ::unlink(file.partial.c_str());
      return absl::DataLossError(
          fmt::format("{} does not match its checksum; it was deleted here: run the command again "
                      "to fetch it anew; if that does not help, 'wavefield checkpoints verify' "
                      "tells whether it is damaged where it is kept",
                      path));
    }
    return absl::OkStatus();
  }

  // Of files that will never be complete.
  void RemovePartialFiles() {
    for (const auto& [path, file] : files_) {
      if (!file.at_target) ::unlink(file.partial.c_str());
    }
  }

  // Gives the files their names, the manifest last: where it is, the checkpoint is complete.
  absl::Status Publish() {
    const auto manifest = files_.find(kManifest);
    if (manifest != files_.end() && !manifest->second.at_target)
      ::unlink(manifest->second.target.c_str());
    for (auto& [path, file] : files_) {
      if (path != kManifest) WF_RETURN_IF_ERROR(Rename(file));
    }
    if (manifest != files_.end()) WF_RETURN_IF_ERROR(Rename(manifest->second));
    return SyncDirectory(directory_);
  }

  int64_t fetched() const { return fetched_; }

 private:
  absl::Status PrepareFile(const v1::CheckpointFile& description) {
    WF_RETURN_IF_ERROR(CheckRelativePath(description.path()));
    if (description.bytes() < 0 || description.sha256().size() != 64) {
      return ProtocolError(fmt::format("{} has {} bytes and the SHA-256 '{}'", description.path(),
                                       description.bytes(), description.sha256()));
    }
    const auto [entry, added] = files_.try_emplace(description.path());
    if (!added) return ProtocolError(description.path() + " is listed twice");
    PartialFile& file = entry->second;
    file.description = description;
    file.target = directory_ / description.path();
    file.partial =
        file.target.string() + fmt::format(".{}.part", description.sha256().substr(0, 12));
    WF_RETURN_IF_ERROR(CreateDirectories(file.target.parent_path()));
    WF_ASSIGN_OR_RETURN(file.at_target, HasChecksum(file.target, description));
    std::error_code error;
    if (file.at_target) {
      file.received = description.bytes();
    } else if (const auto size = fs::file_size(file.partial, error); !error) {
      file.received = static_cast<int64_t>(size);
      if (file.received > description.bytes()) {
        ::unlink(file.partial.c_str());
        file.received = 0;
      }
    }
    if (!file.at_target) WF_RETURN_IF_ERROR(OpenPartial(file));
    here_ += file.received;
    total_ += description.bytes();
    return absl::OkStatus();
  }

  static absl::Status OpenPartial(PartialFile& file) {
    file.fd = FileDescriptor(
        ::open(file.partial.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (file.fd.valid()) return absl::OkStatus();
    return ErrnoToStatus(errno, "cannot write " + file.partial.string());
  }

  // How the stream ended; an error: why it was ended here.
  absl::StatusOr<grpc::Status> Stream() {
    v1::DownloadCheckpointRequest request;
    request.set_name(checkpoint_.name());
    for (const auto& [path, file] : files_) (*request.mutable_offsets())[path] = file.received;
    v1::CheckpointService::Stub stub(session_.channel());
    grpc::ClientContext context;
    session_.PrepareStream(context);
    const auto reader = stub.DownloadCheckpoint(&context, request);
    v1::DownloadCheckpointResponse response;
    while (reader->Read(&response)) {
      const absl::Status status = Take(response);
      if (status.ok()) continue;
      context.TryCancel();
      reader->Finish();
      return status;
    }
    return reader->Finish();
  }

  absl::Status Take(const v1::DownloadCheckpointResponse& response) {
    if (response.has_checkpoint() && response.checkpoint().name() != checkpoint_.name()) {
      return ProtocolError(fmt::format("asked for {}, it sends {}", checkpoint_.name(),
                                       response.checkpoint().name()));
    }
    if (response.data().empty()) return absl::OkStatus();
    const auto entry = files_.find(response.path());
    if (entry == files_.end())
      return ProtocolError(fmt::format("'{}' was not announced", response.path()));
    PartialFile& file = entry->second;
    const auto size = static_cast<int64_t>(response.data().size());
    if (response.offset() != file.received || size > file.description.bytes() - file.received) {
      return ProtocolError(fmt::format("{} bytes at {} of {}, which has {} of {}", size,
                                       response.offset(), response.path(), file.received,
                                       file.description.bytes()));
    }
    WF_RETURN_IF_ERROR(WriteAll(file.fd.get(), file.partial, response.data()));
    file.received += size;
    here_ += size;
    fetched_ += size;
    on_progress_(here_, total_);
    return absl::OkStatus();
  }

  static absl::Status Rename(const PartialFile& file) {
    if (file.at_target || ::rename(file.partial.c_str(), file.target.c_str()) == 0)
      return absl::OkStatus();
    return ErrnoToStatus(errno, "cannot rename to " + file.target.string());
  }

  bool complete() const {
    return std::all_of(files_.begin(), files_.end(),
                       [](const auto& entry) { return entry.second.complete(); });
  }

  const Session& session_;
  const fs::path directory_;
  const std::function<void(int64_t, int64_t)> on_progress_;
  v1::Checkpoint checkpoint_;
  std::map<std::string, PartialFile> files_;
  int64_t here_ = 0;
  int64_t total_ = 0;
  int64_t fetched_ = 0;
};

}  // namespace

absl::StatusOr<DownloadResult> DownloadCheckpoint(
    const Session& session, const std::string& name, const fs::path& directory,
    OtherCheckpoint other, const std::function<void(int64_t, int64_t)>& on_progress) {
  v1::GetCheckpointRequest request;
  request.set_name(name);
  WF_ASSIGN_OR_RETURN(v1::Checkpoint checkpoint,
                      session.Call(&v1::CheckpointService::Stub::GetCheckpoint, request));
  if (other == OtherCheckpoint::kRefused) {
    WF_RETURN_IF_ERROR(CheckDirectory(directory, checkpoint));
  }
  Download download(session, directory, on_progress);
  WF_RETURN_IF_ERROR(download.Prepare(checkpoint));
  absl::Status status = download.Fetch();
  if (status.ok()) status = download.Verify();
  if ((absl::IsDataLoss(status) || absl::IsNotFound(status)) && !checkpoint.damage().empty()) {
    download.RemovePartialFiles();
    return absl::DataLossError(
        fmt::format("{} is damaged where it is kept ({}): running the command again does not help; "
                    "what was fetched of it is deleted here",
                    checkpoint.name(), checkpoint.damage()));
  }
  WF_RETURN_IF_ERROR(status);
  WF_RETURN_IF_ERROR(download.Publish());
  return DownloadResult{.checkpoint = std::move(checkpoint), .fetched_bytes = download.fetched()};
}

absl::Status CheckRelativePath(const std::string& path) {
  bool plain = !path.empty() && path.size() <= kMaxPathBytes;
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    plain = plain && !part.empty() && part != "." && part != "..";
  }
  for (const char c : path)
    plain = plain && static_cast<unsigned char>(c) >= 0x20 && c != 0x7F && c != '\\';
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("the coordinator names a file '{}', which is no plain path inside a directory; "
                  "nothing is written",
                  path.substr(0, 100)));
}

}  // namespace wavefield
