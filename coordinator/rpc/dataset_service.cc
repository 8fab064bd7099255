#include "coordinator/rpc/dataset_service.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "absl/cleanup/cleanup.h"
#include "coordinator/cluster/random_id.h"
#include "coordinator/datasets/dataset_request.h"
#include "coordinator/datasets/inspection_run.h"
#include "coordinator/datasets/source_upload.h"
#include "coordinator/datasets/tokenizer_run.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"
#include "core/base/subprocess.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxChunkBytes = 1 << 20;
constexpr absl::Duration kInspectionTimeout = absl::Seconds(60);
constexpr absl::Duration kProgressInterval = absl::Milliseconds(200);

absl::Status Cancelled() { return absl::CancelledError("the preparation was cancelled"); }

}  // namespace

grpc::ServerBidiReactor<v1::CreateDatasetRequest, v1::CreateDatasetResponse>*
DatasetService::CreateDataset(grpc::CallbackServerContext*) {
  using Reactor = BlockingBidiReactor<v1::CreateDatasetRequest, v1::CreateDatasetResponse>;
  return Reactor::Run(context_.streams, [this](CreateStream& stream) { return Create(stream); });
}

absl::Status DatasetService::Create(CreateStream& stream) {
  v1::CreateDatasetRequest first;
  if (!stream.Read(first))
    return absl::InvalidArgumentError("the first message, config, is missing");
  if (!first.has_config()) {
    return InvalidField("config", "is not set in the first message; the files follow it");
  }
  const v1::CreateDatasetConfig& config = first.config();
  WF_RETURN_IF_ERROR(CheckDatasetConfig(config));
  const std::string id = config.dataset_id();
  {
    std::lock_guard lock(mutex_);
    if (!in_preparation_.insert(id).second) {
      return absl::AbortedError(
          fmt::format("datasets/{} is being prepared by another call; wait for that one", id));
    }
  }
  const auto release = absl::MakeCleanup([&] {
    std::lock_guard lock(mutex_);
    in_preparation_.erase(id);
  });

  absl::StatusOr<DatasetRecord> existing;
  WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) {
    existing = reader.GetDataset(id);
    return absl::OkStatus();
  }));
  v1::CreateDatasetResponse answer;
  if (existing.ok()) {
    if (existing->dataset().source_hash() != SourceHash(config)) {
      return absl::AlreadyExistsError(
          fmt::format("datasets/{} exists already, made from other text or with other options; "
                      "take another name",
                      id));
    }
    *answer.mutable_dataset() = existing->dataset();
  } else if (!absl::IsNotFound(existing.status())) {
    return existing.status();
  } else {
    WF_ASSIGN_OR_RETURN(*answer.mutable_dataset(), Prepare(config, stream));
  }
  return stream.Write(answer) ? absl::OkStatus() : Cancelled();
}

absl::StatusOr<v1::Dataset> DatasetService::Prepare(const v1::CreateDatasetConfig& config,
                                                    CreateStream& stream) {
  const std::string& id = config.dataset_id();
  SourceUpload upload(
      context_.storage_root / "datasets" / fmt::format(".staging-{}-{}", id, RandomHex(8)), config);
  WF_RETURN_IF_ERROR(upload.Begin());
  v1::CreateDatasetResponse answer;
  answer.set_send_chunks(true);
  if (!stream.Write(answer)) return Cancelled();

  absl::Duration reported;
  const auto report = [&](const v1::DatasetProgress& progress) {
    const absl::Duration now = context_.clock.Monotonic();
    if (progress.stage().empty() ||
        (now - reported < kProgressInterval && progress.done() < progress.total())) {
      return !stream.cancelled();
    }
    reported = now;
    *answer.mutable_progress() = progress;
    return stream.Write(answer);
  };
  v1::DatasetProgress progress;
  progress.set_stage("upload");
  progress.set_total(upload.total());
  v1::CreateDatasetRequest request;
  while (!upload.complete()) {
    if (!stream.Read(request)) {
      if (stream.cancelled()) return Cancelled();
      return absl::InvalidArgumentError(fmt::format(
          "the stream ended after {} of {} announced bytes", upload.bytes(), upload.total()));
    }
    if (request.payload_case() != v1::CreateDatasetRequest::kChunk ||
        request.chunk().size() > kMaxChunkBytes) {
      return InvalidField("chunk",
                          fmt::format("has {} bytes; after config come chunks of at most {}",
                                      request.chunk().size(), kMaxChunkBytes));
    }
    WF_RETURN_IF_ERROR(upload.Add(request.chunk()));
    progress.set_done(upload.bytes());
    if (!report(progress)) return Cancelled();
  }

  const std::string directory = "datasets/" + id;
  const std::filesystem::path output = context_.storage_root / directory;
  // Not catalogued: what a coordinator that was killed left behind.
  std::error_code error;
  std::filesystem::remove_all(output, error);
  auto dataset = RunTokenizer(ProgramDirectory() / "wavefield-tokenizer", upload.directory(),
                              output, config, report);
  if (!dataset.ok()) return dataset.status();
  dataset->set_name("datasets/" + id);
  dataset->set_directory(directory);
  dataset->set_path(std::filesystem::absolute(output).string());
  dataset->set_source_hash(SourceHash(config));
  *dataset->mutable_create_time() = ToTimestamp(context_.clock.Now());
  WF_ASSIGN_OR_RETURN(const DatasetRecord record, CatalogueDataset(*dataset, output));
  WF_RETURN_IF_ERROR(context_.store.Write(
      [&](Transaction& transaction) { return transaction.PutDataset(id, record); }));
  spdlog::info("{} is ready: {} train tokens, vocabulary {}", dataset->name(),
               dataset->train_tokens(), dataset->vocab_size());
  return dataset;
}

grpc::ServerUnaryReactor* DatasetService::GetDataset(grpc::CallbackServerContext* call,
                                                     const v1::GetDatasetRequest* request,
                                                     v1::Dataset* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(const std::string id, IdOf("datasets", request->name()));
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(const DatasetRecord record, reader.GetDataset(id));
      *response = record.dataset();
      return absl::OkStatus();
    });
  });
}

grpc::ServerUnaryReactor* DatasetService::InspectDataset(grpc::CallbackServerContext* call,
                                                         const v1::InspectDatasetRequest* request,
                                                         v1::DatasetInspection* response) {
  // It takes seconds where the data are not in memory: not in the lane of short calls.
  return RunUnary(call, context_.streams, [=, this]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(const std::string id, IdOf("datasets", request->name()));
    WF_RETURN_IF_ERROR(CheckInspectRequest(*request));
    absl::StatusOr<DatasetRecord> record;
    WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) {
      record = reader.GetDataset(id);
      return record.status();
    }));
    const v1::Dataset& dataset = record->dataset();
    WF_ASSIGN_OR_RETURN(*response, RunInspection(ProgramDirectory() / "wavefield-tokenizer",
                                                 context_.storage_root / dataset.directory(),
                                                 *request, kInspectionTimeout));
    *response->mutable_dataset() = dataset;
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DatasetService::ListDatasets(grpc::CallbackServerContext* call,
                                                       const v1::ListDatasetsRequest* request,
                                                       v1::ListDatasetsResponse* response) {
  return RunUnary(call, context_.calls, [=, this]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(const int size, PageSize(request->page_size(), 100, 1000));
    WF_ASSIGN_OR_RETURN(const std::string after, ParsePageToken("datasets", request->page_token()));
    return context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(auto records, reader.ListDatasets(after, size + 1));
      if (records.size() > static_cast<size_t>(size)) {
        records.pop_back();
        const std::string last = records.back().dataset().name();
        response->set_next_page_token(
            MakePageToken("datasets", last.substr(std::string("datasets/").size())));
      }
      for (DatasetRecord& record : records) {
        *response->add_datasets() = std::move(*record.mutable_dataset());
      }
      return absl::OkStatus();
    });
  });
}

}  // namespace wavefield::coordinator
