#include "cli/dataset_upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <thread>

#include "absl/synchronization/notification.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;

using Stream = grpc::ClientReaderWriter<v1::CreateDatasetRequest, v1::CreateDatasetResponse>;

// What the coordinator answers, read on a thread of its own: progress comes while chunks are sent.
class Answers {
 public:
  Answers(Stream& stream, const std::function<void(const v1::DatasetProgress&)>& on_progress)
      : thread_([this, &stream, &on_progress] { Read(stream, on_progress); }) {}
  ~Answers() { Join(); }

  // Waits for the first answer; true when it asks for the chunks.
  bool AwaitWantsChunks() {
    first_.WaitForNotification();
    return wants_chunks_;
  }
  // Waits for the end of the stream; the dataset, if one came.
  std::optional<v1::Dataset>& Join() {
    if (thread_.joinable()) thread_.join();
    return dataset_;
  }

 private:
  void Read(Stream& stream, const std::function<void(const v1::DatasetProgress&)>& on_progress) {
    v1::CreateDatasetResponse response;
    while (stream.Read(&response)) {
      if (response.has_progress()) on_progress(response.progress());
      if (response.has_dataset()) dataset_ = response.dataset();
      if (first_.HasBeenNotified() || response.has_progress()) continue;
      wants_chunks_ = response.send_chunks();
      first_.Notify();
    }
    if (!first_.HasBeenNotified()) first_.Notify();
  }

  absl::Notification first_;
  bool wants_chunks_ = false;
  std::optional<v1::Dataset> dataset_;
  std::thread thread_;
};

absl::Status ChangedError(const LocalSource& source) {
  return absl::AbortedError(fmt::format("{} changed while it was being sent; run the command again",
                                        source.file.string()));
}

// OK also when the coordinator stops listening: its status then says why.
absl::Status SendChunks(Stream& stream, const std::vector<LocalSource>& sources) {
  v1::CreateDatasetRequest request;
  for (const LocalSource& source : sources) {
    std::ifstream file(source.file, std::ios::binary);
    for (int64_t left = source.bytes; left > 0;) {
      std::string& chunk = *request.mutable_chunk();
      chunk.resize(static_cast<size_t>(std::min(left, kChunkBytes)));
      if (!file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())))
        return ChangedError(source);
      left -= static_cast<int64_t>(chunk.size());
      if (!stream.Write(request)) return absl::OkStatus();
    }
    if (file.peek() != std::ifstream::traits_type::eof()) return ChangedError(source);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UploadResult> UploadDataset(
    const Session& session, const v1::CreateDatasetConfig& config,
    const std::vector<LocalSource>& sources,
    const std::function<void(const v1::DatasetProgress&)>& on_progress) {
  v1::DatasetService::Stub stub(session.channel());
  grpc::ClientContext context;
  session.PrepareStream(context);
  const std::unique_ptr<Stream> stream = stub.CreateDataset(&context);
  v1::CreateDatasetRequest request;
  *request.mutable_config() = config;
  stream->Write(request);

  Answers answers(*stream, on_progress);
  const bool wants_chunks = answers.AwaitWantsChunks();
  absl::Status sent;
  if (wants_chunks) sent = SendChunks(*stream, sources);
  if (!sent.ok()) context.TryCancel();
  stream->WritesDone();
  std::optional<v1::Dataset>& dataset = answers.Join();
  const grpc::Status status = stream->Finish();
  if (!sent.ok()) return sent;
  if (!status.ok()) return session.ToError(status);
  if (!dataset) return absl::InternalError("the coordinator ended the upload without a dataset");
  return UploadResult{.dataset = std::move(*dataset), .existed = !wants_chunks};
}

}  // namespace wavefield
