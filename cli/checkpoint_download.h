#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield {

struct DownloadResult {
  v1::Checkpoint checkpoint;
  int64_t fetched_bytes = 0;  // less than the checkpoint's where files were here already
};

// What becomes of another complete checkpoint in the directory of a download.
enum class OtherCheckpoint { kRefused, kReplaced };

// Fetches "jobs/{job}/checkpoints/{checkpoint}" into `directory`. Files go to temporary names that
// hold their checksum, so that an interrupted download is continued by the next one; complete files
// of earlier downloads are kept. All are verified, then renamed, manifest.json last. `on_progress`
// gets the bytes that are here and the bytes in all. Errors: the coordinator's; INVALID_ARGUMENT
// for file names that would leave `directory`; FAILED_PRECONDITION, with nothing written, where
// `directory` holds another complete checkpoint that is not to be replaced; DATA_LOSS for a file
// that does not match its checksum, which says so where the catalogue knows of the damage.
absl::StatusOr<DownloadResult> DownloadCheckpoint(
    const Session& session, const std::string& name, const std::filesystem::path& directory,
    OtherCheckpoint other, const std::function<void(int64_t, int64_t)>& on_progress);

// Refuses what is not a plain relative path inside a directory.
absl::Status CheckRelativePath(const std::string& path);

}  // namespace wavefield
