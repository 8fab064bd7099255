#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/records.pb.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {

// At most 1000 bytes, without control characters but line feeds and tabs. INVALID_ARGUMENT about
// the field `field` otherwise.
absl::Status CheckNote(const std::string& field, const std::string& note);

// A checkpoint from elsewhere and the job that will hold it, as the manifest describes them.
struct UploadedCheckpoint {
  JobRecord record;                      // SUCCEEDED, reason UPLOADED
  wavefield::v1::Checkpoint checkpoint;  // without directory; manifest.json is its last file
};

// INVALID_ARGUMENT when the first message of an upload, or the manifest in it, holds what no
// checkpoint may have: naming what and what is allowed.
absl::StatusOr<UploadedCheckpoint> ReadUpload(
    const wavefield::v1::UploadCheckpointRequest::Begin& begin, absl::Time now);

}  // namespace wavefield::coordinator
