// The handlers of CheckpointService that move or read whole files.
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/checkpoints/upload_manifest.h"
#include "coordinator/checkpoints/upload_staging.h"
#include "coordinator/checkpoints/verification.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/checkpoint_service.h"
#include "coordinator/rpc/requests.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"

namespace wavefield::coordinator {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;
constexpr size_t kMaxDamageBytes = 1000;
constexpr size_t kMaxDamagedFilesListed = 100;

absl::Status UploadEnded() { return absl::CancelledError("the upload was ended"); }

// The checkpoint of an earlier upload of the same manifest into this job; nothing: the job does not
// exist. ALREADY_EXISTS when the job holds something else.
absl::StatusOr<std::optional<v1::Checkpoint>> FindUploaded(StoreReader& reader,
                                                           const std::string& job,
                                                           const v1::Checkpoint& checkpoint) {
  const auto record = reader.GetJob(job);
  if (absl::IsNotFound(record.status())) return std::optional<v1::Checkpoint>();
  WF_RETURN_IF_ERROR(record.status());
  const auto existing = reader.GetCheckpoint(checkpoint.name());
  const auto manifest_of = [](const v1::Checkpoint& c) { return c.files().rbegin()->sha256(); };
  if (existing.ok() && record->job().reason() == v1::JOB_REASON_UPLOADED &&
      manifest_of(*existing) == manifest_of(checkpoint)) {
    return std::optional<v1::Checkpoint>(*existing);
  }
  return absl::AlreadyExistsError(fmt::format(
      "jobs/{} exists already, and is not an upload of this checkpoint; take another job_id", job));
}

}  // namespace

grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* CheckpointService::DownloadCheckpoint(
    grpc::CallbackServerContext*, const v1::DownloadCheckpointRequest* request) {
  using Stream = StreamWriter<v1::DownloadCheckpointResponse>;
  return BlockingWriteReactor<v1::DownloadCheckpointResponse>::Run(
      context_.streams,
      [this, request = *request](Stream& stream) { return Download(request, stream); });
}

absl::Status CheckpointService::Download(const v1::DownloadCheckpointRequest& request,
                                         StreamWriter<v1::DownloadCheckpointResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const HeldCheckpoint held,
                      HoldCheckpoint(context_.store, context_.cluster.checkpoint_reads(),
                                     request.name(), "downloads"));
  const v1::Checkpoint& checkpoint = held.checkpoint;
  for (const auto& [path, offset] : request.offsets()) {
    const auto file = std::find_if(checkpoint.files().begin(), checkpoint.files().end(),
                                   [&, &path = path](const auto& f) { return f.path() == path; });
    if (file == checkpoint.files().end()) {
      return InvalidField("offsets", fmt::format("names '{}', which {} does not have",
                                                 Shortened(path, 100), checkpoint.name()));
    }
    if (offset < 0 || offset > file->bytes()) {
      return InvalidField(
          "offsets", fmt::format("is {} for '{}'; allowed: 0 to {}", offset, path, file->bytes()));
    }
  }
  v1::DownloadCheckpointResponse first;
  *first.mutable_checkpoint() = checkpoint;
  if (!stream.Write(first)) return absl::CancelledError("the download was ended");
  for (const v1::CheckpointFile& file : checkpoint.files()) {
    const auto offset = request.offsets().find(file.path());
    WF_RETURN_IF_ERROR(
        SendFile(checkpoint, file, offset == request.offsets().end() ? 0 : offset->second, stream));
  }
  return absl::OkStatus();
}

absl::Status CheckpointService::SendFile(const v1::Checkpoint& checkpoint,
                                         const v1::CheckpointFile& file, int64_t offset,
                                         StreamWriter<v1::DownloadCheckpointResponse>& stream) {
  const auto path = context_.storage_root / checkpoint.directory() / file.path();
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoToStatus(errno,
                         fmt::format("cannot read {} of {}", file.path(), checkpoint.name()));
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || info.st_size != file.bytes()) {
    return absl::DataLossError(
        fmt::format("{} of {} has {} bytes, catalogued were {}: take another "
                    "checkpoint",
                    file.path(), checkpoint.name(), info.st_size, file.bytes()));
  }
  v1::DownloadCheckpointResponse chunk;
  chunk.set_path(file.path());
  while (offset < file.bytes()) {
    std::string& data = *chunk.mutable_data();
    data.resize(static_cast<size_t>(std::min(kChunkBytes, file.bytes() - offset)));
    const ssize_t count = ::pread(fd.get(), data.data(), data.size(), offset);
    if (count <= 0) {
      return ErrnoToStatus(count < 0 ? errno : EIO,
                           fmt::format("cannot read {} of {}", file.path(), checkpoint.name()));
    }
    data.resize(static_cast<size_t>(count));
    chunk.set_offset(offset);
    if (!stream.Write(chunk)) return absl::CancelledError("the download was ended");
    offset += count;
  }
  return absl::OkStatus();
}

grpc::ServerWriteReactor<v1::VerifyCheckpointResponse>* CheckpointService::VerifyCheckpoint(
    grpc::CallbackServerContext*, const v1::VerifyCheckpointRequest* request) {
  using Stream = StreamWriter<v1::VerifyCheckpointResponse>;
  return BlockingWriteReactor<v1::VerifyCheckpointResponse>::Run(
      context_.streams,
      [this, request = *request](Stream& stream) { return Verify(request, stream); });
}

absl::Status CheckpointService::Verify(const v1::VerifyCheckpointRequest& request,
                                       StreamWriter<v1::VerifyCheckpointResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const HeldCheckpoint held,
                      HoldCheckpoint(context_.store, context_.cluster.checkpoint_reads(),
                                     request.name(), "verifications"));
  const v1::Checkpoint& checkpoint = held.checkpoint;
  v1::VerifyCheckpointResponse answer;
  for (const auto& file : checkpoint.files()) {
    answer.set_total_bytes(answer.total_bytes() + file.bytes());
  }
  WF_ASSIGN_OR_RETURN(
      std::vector<std::string> damage,
      FindDamage(context_.storage_root / checkpoint.directory(), checkpoint, [&](int64_t bytes) {
        answer.set_verified_bytes(bytes);
        return stream.Write(answer);
      }));
  // A storage that is not mounted has no files, and damages none.
  if (std::error_code error;
      !damage.empty() && !std::filesystem::exists(context_.storage_root / "probe", error)) {
    return absl::UnavailableError("the cluster's storage is not there now; try again later");
  }
  WF_RETURN_IF_ERROR(context_.store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(v1::Checkpoint current, transaction.GetCheckpoint(checkpoint.name()));
    current.clear_damage();
    if (damage.empty()) {
      *current.mutable_verify_time() = ToTimestamp(context_.clock.Now());
    } else {
      current.set_damage(Shortened(
          damage.size() == 1 ? damage[0]
                             : fmt::format("{}; and {} more files", damage[0], damage.size() - 1),
          kMaxDamageBytes));
      spdlog::warn("{} is damaged: {}", current.name(), current.damage());
    }
    *answer.mutable_checkpoint() = current;
    return transaction.PutCheckpoint(JobOfCheckpoint(current.name()), current);
  }));
  answer.set_verified_bytes(answer.total_bytes());
  damage.resize(std::min(damage.size(), kMaxDamagedFilesListed));
  answer.mutable_damaged_files()->Assign(damage.begin(), damage.end());
  return stream.Write(answer) ? absl::OkStatus()
                              : absl::CancelledError("the verification was ended");
}

grpc::ServerBidiReactor<v1::UploadCheckpointRequest, v1::UploadCheckpointResponse>*
CheckpointService::UploadCheckpoint(grpc::CallbackServerContext*) {
  using Reactor = BlockingBidiReactor<v1::UploadCheckpointRequest, v1::UploadCheckpointResponse>;
  return Reactor::Run(context_.streams, [this](UploadStream& stream) { return Upload(stream); });
}

absl::Status CheckpointService::Upload(UploadStream& stream) {
  v1::UploadCheckpointRequest first;
  if (!stream.Read(first) || !first.has_begin()) {
    return InvalidField("begin", "is not set in the first message; the files follow it");
  }
  const std::string job = first.begin().job_id();
  {
    std::lock_guard lock(mutex_);
    if (!uploading_.insert(job).second) {
      return absl::AbortedError(fmt::format(
          "a checkpoint is being uploaded into jobs/{} by another call; wait for that one",
          Shortened(job, 80)));
    }
  }
  const auto release = absl::MakeCleanup([&] {
    std::lock_guard lock(mutex_);
    uploading_.erase(job);
  });
  v1::UploadCheckpointResponse answer;
  WF_ASSIGN_OR_RETURN(*answer.mutable_checkpoint(), TakeUpload(first.begin(), stream));
  return stream.Write(answer) ? absl::OkStatus() : UploadEnded();
}

absl::StatusOr<v1::Checkpoint> CheckpointService::TakeUpload(
    const v1::UploadCheckpointRequest::Begin& begin, UploadStream& stream) {
  WF_ASSIGN_OR_RETURN(UploadedCheckpoint uploaded, ReadUpload(begin, context_.clock.Now()));
  v1::Checkpoint& checkpoint = uploaded.checkpoint;
  std::optional<v1::Checkpoint> existing;
  const auto find = [&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(existing, FindUploaded(reader, begin.job_id(), checkpoint));
    return absl::OkStatus();
  };
  WF_RETURN_IF_ERROR(context_.store.Read(find));
  v1::UploadCheckpointResponse answer;
  if (existing) {
    for (const auto& file : existing->files()) {
      (*answer.mutable_offsets())[file.path()] = file.bytes();
    }
    answer.mutable_offsets()->erase(kManifestFile);
    if (!stream.Write(answer)) return UploadEnded();
    return *existing;
  }
  WF_ASSIGN_OR_RETURN(auto staging, UploadStaging::Open(context_.storage_root, begin.job_id(),
                                                        begin.manifest(), checkpoint));
  answer.mutable_offsets()->insert(staging.offsets().begin(), staging.offsets().end());
  if (!stream.Write(answer)) return UploadEnded();
  v1::UploadCheckpointRequest request;
  while (stream.Read(request)) {
    if (!request.has_chunk()) {
      return InvalidField("chunk", "is not set; after the first message come chunks of files");
    }
    WF_RETURN_IF_ERROR(staging.Add(request.chunk()));
  }
  if (stream.cancelled()) return UploadEnded();
  WF_RETURN_IF_ERROR(staging.Complete([&] { return stream.cancelled(); }));
  checkpoint.set_directory(staging.directory());
  uploaded.record.set_checkpoint_directory(staging.job_directory());
  bool used_before = false;
  const absl::Status committed =
      context_.store.Write([&](Transaction& transaction) -> absl::Status {
        WF_RETURN_IF_ERROR(find(transaction));
        // Catalogued by an upload that did not get to its end, and deleted since.
        WF_ASSIGN_OR_RETURN(used_before, transaction.IsDeletionPendingIn(staging.job_directory()));
        used_before = used_before || !staging.moved();
        if (used_before) {
          return absl::AbortedError(
              fmt::format("an earlier {} was just deleted: upload it again", checkpoint.name()));
        }
        v1::Job& job = *uploaded.record.mutable_job();
        WF_ASSIGN_OR_RETURN(const int64_t last_epoch,
                            transaction.LastEpochOfDeleted(begin.job_id()));
        job.set_epoch(std::max(job.epoch(), last_epoch));
        WF_RETURN_IF_ERROR(transaction.PutJob(uploaded.record));
        return transaction.PutCheckpoint(begin.job_id(), checkpoint);
      });
  // Another job took the name meanwhile; after other errors the upload can be continued.
  if (committed.ok() || absl::IsAlreadyExists(committed) || used_before) {
    staging.Remove(/*moved=*/!committed.ok());
  }
  WF_RETURN_IF_ERROR(committed);
  spdlog::info("{} was uploaded: {} bytes", checkpoint.name(), checkpoint.bytes());
  return checkpoint;
}

}  // namespace wavefield::coordinator
