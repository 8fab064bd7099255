#include "coordinator/checkpoints/orphans.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/jobs/job_list.h"
#include "coordinator/jobs/job_states.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

namespace fs = std::filesystem;
using wavefield::v1::OrphanDirectory;

constexpr size_t kMaxOrphans = 1000;
constexpr int kMaxDirectories = 100'000;
constexpr int kMaxFilesMeasured = 200'000;

// Names of the directories in `directory`, sorted; no links. `budget` is what may still be looked
// at.
std::vector<std::string> DirectoriesIn(const fs::path& directory, int& budget) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (--budget < 0) break;
    if (entry->symlink_status(error).type() == fs::file_type::directory) {
      names.push_back(entry->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What the store knows of directories.
struct Known {
  struct Owner {
    std::string job;  // id
    // Its ranks may be writing there, and what they wrote may not have been reported yet.
    bool may_write = false;
  };
  std::map<std::string, Owner> owners;  // by directory
  std::set<std::string> checkpoints;    // their directories
};

absl::StatusOr<Known> ReadKnown(StoreReader& reader) {
  Known known;
  WF_RETURN_IF_ERROR(VisitJobs(
      reader, wavefield::v1::JOB_STATE_UNSPECIFIED, INT64_MAX, [&](int64_t, const JobRecord& job) {
        known.owners.try_emplace(
            job.checkpoint_directory(),
            Known::Owner{JobId(job), HoldsSlots(job) || HasAttempt(job.job().state())});
        return true;
      }));
  WF_RETURN_IF_ERROR(
      VisitCheckpoints(reader, "", INT64_MAX, [&](int64_t, const wavefield::v1::Checkpoint& c) {
        known.checkpoints.insert(c.directory());
        return true;
      }));
  return known;
}

// What lies in a directory now; links are not followed.
void Measure(const fs::path& directory, int& budget, OrphanDirectory& orphan) {
  struct stat info {};
  if (::lstat(directory.c_str(), &info) == 0) {
    orphan.mutable_modify_time()->set_seconds(info.st_mtim.tv_sec);
    orphan.mutable_modify_time()->set_nanos(static_cast<int32_t>(info.st_mtim.tv_nsec));
  }
  int64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (--budget < 0) break;
    if (::lstat(entry->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) bytes += info.st_size;
  }
  orphan.set_bytes(bytes);
}

std::string WhyThere(const Known::Owner* owner) {
  if (owner == nullptr) {
    return "no job has this directory: its job was deleted, or somebody put it there";
  }
  return fmt::format(
      "an attempt of jobs/{} left it: it was not completed, or its report never came, or was "
      "refused",
      owner->job);
}

}  // namespace

absl::StatusOr<std::vector<OrphanDirectory>> FindOrphans(Store& store, const fs::path& storage_root,
                                                         const std::string& job) {
  // The disk first, the catalogue afterwards: what was catalogued meanwhile is known by then.
  int budget = kMaxDirectories;
  std::map<std::string, std::vector<std::string>> found;
  for (const std::string& folder : DirectoriesIn(storage_root / "checkpoints", budget)) {
    const std::string directory = "checkpoints/" + folder;
    found[directory] = DirectoriesIn(storage_root / directory, budget);
  }
  const auto uploads = DirectoriesIn(storage_root / "uploads", budget);
  const std::set<std::string> uploading(uploads.begin(), uploads.end());

  std::vector<OrphanDirectory> orphans;
  WF_RETURN_IF_ERROR(store.Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const Known known, ReadKnown(reader));
    for (const auto& [folder, names] : found) {
      const auto entry = known.owners.find(folder);
      const Known::Owner* owner = entry == known.owners.end() ? nullptr : &entry->second;
      if (!job.empty() && (owner == nullptr || owner->job != job)) continue;
      if (owner != nullptr && owner->may_write) continue;
      if (uploading.contains(fs::path(folder).filename().string())) continue;
      for (const std::string& name : names) {
        const std::string directory = fmt::format("{}/{}", folder, name);
        if (known.checkpoints.contains(directory)) continue;
        WF_ASSIGN_OR_RETURN(const bool pending, reader.IsDeletionPending(directory));
        if (pending || orphans.size() == kMaxOrphans) continue;
        OrphanDirectory& orphan = orphans.emplace_back();
        orphan.set_directory(directory);
        orphan.set_message(WhyThere(owner));
      }
    }
    return absl::OkStatus();
  }));
  int files = kMaxFilesMeasured;
  std::erase_if(orphans, [&](OrphanDirectory& orphan) {
    const fs::path path = storage_root / orphan.directory();
    std::error_code error;
    if (!fs::exists(path, error)) return true;  // removed a moment ago
    Measure(path, files, orphan);
    return false;
  });
  return orphans;
}

}  // namespace wavefield::coordinator
