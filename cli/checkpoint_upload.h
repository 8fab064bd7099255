#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield {

struct UploadCheckpointOptions {
  std::filesystem::path directory;  // holds manifest.json and the files that it lists
  std::string job_id;               // of the job that is to hold it
  std::string note;
};

struct UploadedCheckpoint {
  v1::Checkpoint checkpoint;
  int64_t sent_bytes = 0;  // less than the checkpoint's where files were there already
};

// `stage` is "checking" or "sending"; bytes done and in all.
using OnUploadProgress = std::function<void(const char* stage, int64_t done, int64_t total)>;

// Brings the checkpoint in a directory into the catalogue of the coordinator. Its files are checked
// against the manifest before anything is sent; what was sent by an upload that was broken off is
// not sent again. Errors: the coordinator's; NOT_FOUND for a directory without a manifest or a file
// that it lists; DATA_LOSS for a file that is not as the manifest says.
absl::StatusOr<UploadedCheckpoint> UploadCheckpoint(const Session& session,
                                                    const UploadCheckpointOptions& options,
                                                    const OnUploadProgress& on_progress);

}  // namespace wavefield
