#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"

namespace wavefield::coordinator {

class CheckpointService final : public v1::CheckpointService::CallbackService {
 public:
  explicit CheckpointService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListCheckpoints(grpc::CallbackServerContext* call,
                                            const v1::ListCheckpointsRequest* request,
                                            v1::ListCheckpointsResponse* response) override;
  grpc::ServerUnaryReactor* GetCheckpoint(grpc::CallbackServerContext* call,
                                          const v1::GetCheckpointRequest* request,
                                          v1::Checkpoint* response) override;
  grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* DownloadCheckpoint(
      grpc::CallbackServerContext* call, const v1::DownloadCheckpointRequest* request) override;

 private:
  absl::Status List(const v1::ListCheckpointsRequest& request,
                    v1::ListCheckpointsResponse& response);
  absl::StatusOr<v1::Checkpoint> Resolve(const std::string& name);
  absl::Status Download(const v1::DownloadCheckpointRequest& request,
                        StreamWriter<v1::DownloadCheckpointResponse>& stream);
  absl::Status SendFile(const v1::Checkpoint& checkpoint, const v1::CheckpointFile& file,
                        int64_t offset, StreamWriter<v1::DownloadCheckpointResponse>& stream);

  ServiceContext& context_;
};

}  // namespace wavefield::coordinator
