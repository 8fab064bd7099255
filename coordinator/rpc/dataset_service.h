#pragma once

#include <grpcpp/grpcpp.h>

#include <mutex>
#include <set>
#include <string>

#include "coordinator/rpc/calls.h"
#include "coordinator/rpc/service_context.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"

namespace wavefield::coordinator {

class DatasetService final : public v1::DatasetService::CallbackService {
 public:
  explicit DatasetService(ServiceContext& context) : context_(context) {}

  grpc::ServerBidiReactor<v1::CreateDatasetRequest, v1::CreateDatasetResponse>* CreateDataset(
      grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* call,
                                       const v1::GetDatasetRequest* request,
                                       v1::Dataset* response) override;
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* call,
                                         const v1::ListDatasetsRequest* request,
                                         v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* InspectDataset(grpc::CallbackServerContext* call,
                                           const v1::InspectDatasetRequest* request,
                                           v1::DatasetInspection* response) override;

 private:
  using CreateStream = StreamReaderWriter<v1::CreateDatasetRequest, v1::CreateDatasetResponse>;

  absl::Status Create(CreateStream& stream);
  // Receives the text, tokenises it and catalogues the result.
  absl::StatusOr<v1::Dataset> Prepare(const v1::CreateDatasetConfig& config, CreateStream& stream);

  ServiceContext& context_;
  std::mutex mutex_;
  std::set<std::string> in_preparation_;
};

}  // namespace wavefield::coordinator
