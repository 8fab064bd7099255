#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/file.h"
#include "wavefield/v1/checkpoint_service.pb.h"

namespace wavefield::coordinator {

// An upload that was broken off is kept for so long.
inline constexpr absl::Duration kUploadRetention = absl::Hours(24);

// The files of one upload while they come, below the storage root:
//
//   uploads/{job}.{token}/begin        the manifest that the upload began with
//   uploads/{job}.{token}/files/       the files so far
//   checkpoints/{job}.{token}/{step}-{epoch}/   where `files` moves when it is complete
//
// The token is drawn for each upload, so that no directory is used twice. Whatever moment the
// coordinator is ended at, the upload can be continued from there. One at a time for a job. Not
// thread-safe.
class UploadStaging {
 public:
  // Continues the upload of this checkpoint for the job, or begins it: then what an upload of
  // another checkpoint for the job has left is removed. `checkpoint`: as ReadUpload returns it.
  // RESOURCE_EXHAUSTED when the storage has no room for what is still to come.
  static absl::StatusOr<UploadStaging> Open(const std::filesystem::path& storage_root,
                                            const std::string& job, const std::string& manifest,
                                            const wavefield::v1::Checkpoint& checkpoint);

  // Bytes of each file that are here; files of which there are none are left out.
  const std::map<std::string, int64_t>& offsets() const { return offsets_; }

  // INVALID_ARGUMENT for a file that the manifest does not name, a gap, or too many bytes.
  absl::Status Add(const wavefield::v1::UploadCheckpointRequest::Chunk& chunk);

  // Hashes all files, makes them durable, and moves them to directory(). INVALID_ARGUMENT when
  // bytes are missing, or when a file is another than the manifest says: that one is dropped.
  // CANCELLED soon after `cancelled` returns true.
  absl::Status Complete(const std::function<bool()>& cancelled);

  // Of the checkpoint, and of its job's checkpoints, relative to the storage root.
  std::string directory() const;
  std::string job_directory() const { return "checkpoints/" + token_; }
  // Whether its files are there now.
  bool moved() const;

  // The upload is in the catalogue, or refused: with `moved`, also removes what was moved.
  void Remove(bool moved);

 private:
  UploadStaging(std::filesystem::path storage_root, std::string manifest,
                wavefield::v1::Checkpoint checkpoint)
      : root_(std::move(storage_root)),
        manifest_(std::move(manifest)),
        checkpoint_(std::move(checkpoint)) {}

  std::filesystem::path folder() const { return root_ / "uploads" / token_; }
  std::filesystem::path files() const { return folder() / "files"; }
  absl::Status FindOrBegin(const std::string& job);
  absl::Status ReadOffsets();
  absl::Status CheckRoomForRest() const;
  absl::Status CheckComplete() const;
  absl::Status DropDamaged(const std::function<bool()>& cancelled);
  absl::Status MakeDurable() const;

  std::filesystem::path root_;
  std::string manifest_;
  wavefield::v1::Checkpoint checkpoint_;
  std::string token_;  // "{job}.{token}"
  std::map<std::string, int64_t> offsets_;
  std::string open_path_;
  FileDescriptor open_file_;
};

// Removes uploads to which nothing was added for kUploadRetention.
void RemoveStaleUploads(const std::filesystem::path& storage_root, absl::Time now);

}  // namespace wavefield::coordinator
