#include "coordinator/rpc/checkpoint_service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/numbers.h"
#include "coordinator/jobs/checkpoint_catalogue.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;

}  // namespace

grpc::ServerUnaryReactor* CheckpointService::ListCheckpoints(
    grpc::CallbackServerContext* call, const v1::ListCheckpointsRequest* request,
    v1::ListCheckpointsResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return List(*request, *response); });
}

absl::Status CheckpointService::List(const v1::ListCheckpointsRequest& request,
                                     v1::ListCheckpointsResponse& response) {
  std::string job;
  if (request.parent() != "jobs/-") {
    WF_ASSIGN_OR_RETURN(job, IdOf("jobs", request.parent()));
  }
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  const std::string scope = request.parent() + "/checkpoints";
  WF_ASSIGN_OR_RETURN(const std::string position, ParsePageToken(scope, request.page_token()));
  int64_t before = INT64_MAX;
  if (!position.empty() && !absl::SimpleAtoi(position, &before)) {
    return InvalidField("page_token", "was not given out for this list");
  }
  return context_.store.Read([&](StoreReader& reader) -> absl::Status {
    if (!job.empty()) WF_RETURN_IF_ERROR(reader.GetJob(job).status());
    WF_ASSIGN_OR_RETURN(auto checkpoints, reader.ListCheckpoints(job, before, size + 1));
    if (checkpoints.size() > static_cast<size_t>(size)) {
      checkpoints.pop_back();
      response.set_next_page_token(MakePageToken(scope, std::to_string(checkpoints.back().first)));
    }
    for (auto& [revision, checkpoint] : checkpoints) {
      *response.add_checkpoints() = std::move(checkpoint);
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::Checkpoint> CheckpointService::Resolve(const std::string& name) {
  absl::StatusOr<v1::Checkpoint> checkpoint;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) {
    checkpoint = ResolveCheckpoint(reader, name);
    return absl::OkStatus();
  }));
  return checkpoint;
}

grpc::ServerUnaryReactor* CheckpointService::GetCheckpoint(grpc::CallbackServerContext* call,
                                                           const v1::GetCheckpointRequest* request,
                                                           v1::Checkpoint* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(*response, Resolve(request->name()));
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* CheckpointService::DownloadCheckpoint(
    grpc::CallbackServerContext*, const v1::DownloadCheckpointRequest* request) {
  using Stream = StreamWriter<v1::DownloadCheckpointResponse>;
  return BlockingWriteReactor<v1::DownloadCheckpointResponse>::Run(
      context_.streams,
      [this, request = *request](Stream& stream) { return Download(request, stream); });
}

absl::Status CheckpointService::Download(const v1::DownloadCheckpointRequest& request,
                                         StreamWriter<v1::DownloadCheckpointResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint, Resolve(request.name()));
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

}  // namespace wavefield::coordinator
