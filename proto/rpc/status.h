#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/rpc/error_details.pb.h"

namespace wavefield {

// The one table between absl::Status, used inside, and gRPC's status on the wire. Details
// (google.rpc.BadRequest, ErrorInfo, RetryInfo, ResourceInfo) travel as payloads of the
// absl::Status, keyed by their type URL, and as google.rpc.Status in the trailer.
grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

// Attaches `detail` (a google.rpc message) to `status`.
void AttachDetail(absl::Status& status, const google::protobuf::Message& detail);

// An error with a stable machine-readable reason, e.g. "SLOTS_EXHAUSTED".
absl::Status StatusWithReason(absl::StatusCode code, const std::string& reason,
                              const std::string& message);

// The BadRequest of a status, or an empty one.
google::rpc::BadRequest BadRequestOf(const absl::Status& status);
// The reason of a status's ErrorInfo, or "".
std::string ReasonOf(const absl::Status& status);

}  // namespace wavefield
