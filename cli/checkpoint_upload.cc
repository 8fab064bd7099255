#include "cli/checkpoint_upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <utility>

#include "cli/reconnection.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kChunkBytes = 1 << 20;
constexpr uint64_t kMaxSentManifestBytes = 4 << 20;
constexpr absl::Duration kReconnectFor = absl::Minutes(1);

using Stream = grpc::ClientReaderWriter<v1::UploadCheckpointRequest, v1::UploadCheckpointResponse>;

class Upload {
 public:
  Upload(const Session& session, const UploadCheckpointOptions& options,
         const OnUploadProgress& on_progress)
      : session_(session), options_(options), on_progress_(on_progress) {}

  absl::Status Check() {
    const fs::path path = options_.directory / kManifestFile;
    absl::StatusOr<std::string> text = ReadFile(path, kMaxSentManifestBytes);
    if (absl::IsNotFound(text.status())) {
      return absl::NotFoundError(fmt::format("{} is no checkpoint: it holds no {}",
                                             options_.directory.string(), kManifestFile));
    }
    WF_RETURN_IF_ERROR(text.status());
    manifest_text_ = *std::move(text);
    absl::StatusOr<CheckpointManifest> manifest = ParseManifest(manifest_text_);
    if (!manifest.ok()) {
      return absl::Status(
          manifest.status().code(),
          fmt::format("{}: {}", path.string(), std::string(manifest.status().message())));
    }
    manifest_ = *std::move(manifest);
    for (const CheckpointManifest::File& file : manifest_.files) {
      total_ += static_cast<int64_t>(file.bytes);
    }
    int64_t checked = 0;
    for (const CheckpointManifest::File& file : manifest_.files) {
      on_progress_("checking", checked, total_);
      WF_ASSIGN_OR_RETURN(const std::string sha256,
                          Sha256HexOfFile(options_.directory / file.name));
      if (sha256 != file.sha256) {
        return absl::DataLossError(fmt::format(
            "{} is not as {} says: its SHA-256 is {}, it should be {}; nothing was sent",
            (options_.directory / file.name).string(), kManifestFile, sha256, file.sha256));
      }
      checked += static_cast<int64_t>(file.bytes);
    }
    return absl::OkStatus();
  }

  // Sends what is missing; a connection that breaks is taken up again.
  absl::StatusOr<UploadedCheckpoint> Send() {
    Reconnection reconnection(session_, kReconnectFor, "the same command continues the upload");
    for (int64_t kept = -1;;) {
      v1::UploadCheckpointResponse response;
      WF_ASSIGN_OR_RETURN(const grpc::Status status, SendOnce(response));
      if (status.ok() && response.has_checkpoint()) {
        return UploadedCheckpoint{std::move(*response.mutable_checkpoint()), sent_};
      }
      if (status.ok()) {
        return absl::InternalError("the coordinator ended the upload without a checkpoint");
      }
      if (kept_ > kept) reconnection.Connected();
      kept = std::max(kept, kept_);
      WF_RETURN_IF_ERROR(reconnection.AwaitRetry(status));
    }
  }

 private:
  // How the call ended, with the last `response`; an error: why it was ended here.
  absl::StatusOr<grpc::Status> SendOnce(v1::UploadCheckpointResponse& response) {
    v1::CheckpointService::Stub stub(session_.channel());
    grpc::ClientContext context;
    session_.PrepareStream(context);
    const std::unique_ptr<Stream> stream = stub.UploadCheckpoint(&context);
    v1::UploadCheckpointRequest request;
    request.mutable_begin()->set_job_id(options_.job_id);
    request.mutable_begin()->set_manifest(manifest_text_);
    request.mutable_begin()->set_note(options_.note);
    absl::Status sent;
    if (stream->Write(request) && stream->Read(&response)) sent = SendFiles(*stream, response);
    if (!sent.ok()) context.TryCancel();
    stream->WritesDone();
    while (!response.has_checkpoint() && stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    WF_RETURN_IF_ERROR(sent);
    return status;
  }

  // OK also when the coordinator stops listening: its status then says why.
  absl::Status SendFiles(Stream& stream, const v1::UploadCheckpointResponse& here) {
    const auto offset_of = [&](const CheckpointManifest::File& file) {
      const auto found = here.offsets().find(file.name);
      return found == here.offsets().end() ? int64_t{0} : found->second;
    };
    there_ = 0;
    for (const CheckpointManifest::File& file : manifest_.files) {
      const int64_t offset = offset_of(file);
      if (offset < 0 || offset > static_cast<int64_t>(file.bytes)) {
        return absl::InternalError(fmt::format("the coordinator has {} bytes of {}, which has {}",
                                               offset, file.name, file.bytes));
      }
      there_ += offset;
    }
    kept_ = there_;
    for (const CheckpointManifest::File& file : manifest_.files) {
      bool listening = true;
      WF_RETURN_IF_ERROR(SendFile(stream, file, offset_of(file), listening));
      if (!listening) break;
    }
    return absl::OkStatus();
  }

  absl::Status SendFile(Stream& stream, const CheckpointManifest::File& file, int64_t offset,
                        bool& listening) {
    const fs::path path = options_.directory / file.name;
    std::ifstream input(path, std::ios::binary);
    input.seekg(offset);
    v1::UploadCheckpointRequest request;
    v1::UploadCheckpointRequest::Chunk& chunk = *request.mutable_chunk();
    chunk.set_path(file.name);
    for (const auto bytes = static_cast<int64_t>(file.bytes); offset < bytes;) {
      std::string& data = *chunk.mutable_data();
      data.resize(static_cast<size_t>(std::min(bytes - offset, kChunkBytes)));
      const auto size = static_cast<int64_t>(data.size());
      if (!input.read(data.data(), size)) {
        return absl::AbortedError(fmt::format(
            "{} changed while it was being sent; run the command again", path.string()));
      }
      chunk.set_offset(offset);
      listening = stream.Write(request);
      if (!listening) return absl::OkStatus();
      offset += size;
      there_ += size;
      sent_ += size;
      on_progress_("sending", there_, total_);
    }
    return absl::OkStatus();
  }

  const Session& session_;
  const UploadCheckpointOptions& options_;
  const OnUploadProgress& on_progress_;
  std::string manifest_text_;
  CheckpointManifest manifest_;
  int64_t total_ = 0;
  int64_t kept_ = -1;  // at the coordinator, as it last said when a try began; -1: never
  int64_t there_ = 0;  // with what was sent since
  int64_t sent_ = 0;
};

}  // namespace

absl::StatusOr<UploadedCheckpoint> UploadCheckpoint(const Session& session,
                                                    const UploadCheckpointOptions& options,
                                                    const OnUploadProgress& on_progress) {
  Upload upload(session, options, on_progress);
  WF_RETURN_IF_ERROR(upload.Check());
  return upload.Send();
}

}  // namespace wavefield
