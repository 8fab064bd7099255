#pragma once

#include <grpcpp/grpcpp.h>

#include <mutex>
#include <set>
#include <string>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield::coordinator {

// Handlers are in checkpoint_service.cc, those that move or read whole files in
// checkpoint_transfers.cc. What they do is in coordinator/checkpoints/.
class CheckpointService final : public v1::CheckpointService::CallbackService {
 public:
  explicit CheckpointService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListCheckpoints(grpc::CallbackServerContext* call,
                                            const v1::ListCheckpointsRequest* request,
                                            v1::ListCheckpointsResponse* response) override;
  grpc::ServerUnaryReactor* GetCheckpoint(grpc::CallbackServerContext* call,
                                          const v1::GetCheckpointRequest* request,
                                          v1::Checkpoint* response) override;
  grpc::ServerUnaryReactor* UpdateCheckpoint(grpc::CallbackServerContext* call,
                                             const v1::UpdateCheckpointRequest* request,
                                             v1::Checkpoint* response) override;
  grpc::ServerUnaryReactor* DeleteCheckpoint(grpc::CallbackServerContext* call,
                                             const v1::DeleteCheckpointRequest* request,
                                             v1::Checkpoint* response) override;
  grpc::ServerUnaryReactor* DeleteCheckpoints(grpc::CallbackServerContext* call,
                                              const v1::DeleteCheckpointsRequest* request,
                                              v1::DeleteCheckpointsResponse* response) override;
  grpc::ServerUnaryReactor* CollectGarbage(grpc::CallbackServerContext* call,
                                           const v1::CollectGarbageRequest* request,
                                           v1::CollectGarbageResponse* response) override;
  grpc::ServerUnaryReactor* DiffCheckpoints(grpc::CallbackServerContext* call,
                                            const v1::DiffCheckpointsRequest* request,
                                            v1::DiffCheckpointsResponse* response) override;
  grpc::ServerUnaryReactor* GetLineage(grpc::CallbackServerContext* call,
                                       const v1::GetLineageRequest* request,
                                       v1::Lineage* response) override;
  grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* DownloadCheckpoint(
      grpc::CallbackServerContext* call, const v1::DownloadCheckpointRequest* request) override;
  grpc::ServerWriteReactor<v1::VerifyCheckpointResponse>* VerifyCheckpoint(
      grpc::CallbackServerContext* call, const v1::VerifyCheckpointRequest* request) override;
  grpc::ServerBidiReactor<v1::UploadCheckpointRequest, v1::UploadCheckpointResponse>*
  UploadCheckpoint(grpc::CallbackServerContext* call) override;

 private:
  using UploadStream =
      StreamReaderWriter<v1::UploadCheckpointRequest, v1::UploadCheckpointResponse>;

  absl::Status Update(const v1::UpdateCheckpointRequest& request, v1::Checkpoint& response);
  absl::Status Download(const v1::DownloadCheckpointRequest& request,
                        StreamWriter<v1::DownloadCheckpointResponse>& stream);
  absl::Status SendFile(const v1::Checkpoint& checkpoint, const v1::CheckpointFile& file,
                        int64_t offset, StreamWriter<v1::DownloadCheckpointResponse>& stream);
  absl::Status Verify(const v1::VerifyCheckpointRequest& request,
                      StreamWriter<v1::VerifyCheckpointResponse>& stream);
  absl::Status Upload(UploadStream& stream);
  absl::StatusOr<v1::Checkpoint> TakeUpload(const v1::UploadCheckpointRequest::Begin& begin,
                                            UploadStream& stream);

  // Runs `work` once: in a transaction, or, to validate only, on what there is. An answer that was
  // given to the same request id is given again.
  template <typename Request, typename Response>
  absl::Status Change(const char* method, const Request& request, Response& response,
                      const std::function<absl::Status(StoreReader&, Transaction*)>& work);

  ServiceContext& context_;
  std::mutex mutex_;
  std::set<std::string> uploading_;  // jobs
};

}  // namespace wavefield::coordinator
