#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// "a" of "workers/a", [a-z][a-z0-9.-]{0,62}.
absl::StatusOr<std::string> WorkerIdOf(const std::string& name);

// INVALID_ARGUMENT naming the field; FAILED_PRECONDITION (reason STORAGE_NOT_SHARED) when the
// worker does not see the cluster's storage root.
absl::Status CheckRegistration(const wavefield::v1::RegisterWorkerRequest& request,
                               const std::string& probe);

// INVALID_ARGUMENT naming the field.
absl::Status CheckGpus(const google::protobuf::RepeatedPtrField<wavefield::v1::Gpu>& gpus);

absl::Status CheckRendezvousKey(const std::string& key);
absl::Status CheckRendezvousValue(const std::string& value);

}  // namespace wavefield::coordinator
