#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/reader.h"
#include "core/checkpoint/storage.h"
#include "core/checkpoint/writer.h"

namespace wavefield {

// The names of the checkpoints below `checkpoints` that have a manifest, highest (step, epoch)
// first.
inline absl::StatusOr<std::vector<std::string>> ListCompleteCheckpoints(
    Storage& storage, const std::string& checkpoints) {
  std::vector<std::pair<CheckpointId, std::string>> complete;
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, storage.List(checkpoints));
  for (const std::string& name : names) {
    const std::optional<CheckpointId> id = ParseCheckpointDirectoryName(name);
    if (!id) continue;
    const auto size =
        storage.FileSize(JoinStoragePath(JoinStoragePath(checkpoints, name), kManifestFile));
    if (size.ok()) {
      complete.emplace_back(*id, name);
    } else if (!absl::IsNotFound(size.status())) {
      return size.status();
    }
  }
  std::sort(complete.rbegin(), complete.rend());
  std::vector<std::string> newest_first;
  for (auto& [id, name] : complete) newest_first.push_back(std::move(name));
  return newest_first;
}

struct NewestCheckpoint {
  struct Found {
    std::string name;
    CheckpointManifest manifest;
  };
  struct Rejected {
    std::string name;
    absl::Status reason;
  };
  std::optional<Found> found;      // none: every one was rejected, or there is none
  std::vector<Rejected> rejected;  // those that are newer than `found`
};

// The newest complete checkpoint of which every file verifies, and why newer ones did not.
inline absl::StatusOr<NewestCheckpoint> FindNewestVerified(Storage& storage,
                                                           const std::string& checkpoints) {
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                      ListCompleteCheckpoints(storage, checkpoints));
  NewestCheckpoint newest;
  for (const std::string& name : names) {
    WF_ASSIGN_OR_RETURN(const std::filesystem::path path,
                        storage.LocalPath(JoinStoragePath(checkpoints, name)));
    absl::StatusOr<CheckpointManifest> manifest = VerifyCheckpoint(path, VerifyLevel::kFull);
    if (manifest.ok()) {
      newest.found = {name, *std::move(manifest)};
      break;
    }
    newest.rejected.push_back({name, manifest.status()});
  }
  return newest;
}

}  // namespace wavefield
