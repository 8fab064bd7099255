#include "core/checkpoint/reader.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNamed = 5;  // tensors listed in an error

std::string List(const std::vector<std::string>& names) {
  const std::vector<std::string> first(
      names.begin(), names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), kMaxNamed)));
  return absl::StrCat(
      "'", absl::StrJoin(first, "', '"), "'",
      names.size() > kMaxNamed ? absl::StrCat(" and ", names.size() - kMaxNamed, " more") : "");
}

absl::Status VerifyFile(const fs::path& path, const CheckpointManifest::File& file,
                        VerifyLevel level) {
  std::error_code error;
  const uint64_t size = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  if (error || !fs::is_regular_file(path, error)) {
    return absl::DataLossError(path.string() + " is missing");
  }
  if (size != file.bytes) {
    return absl::DataLossError(
        absl::StrCat(path.string(), " has ", size, " bytes; the manifest says ", file.bytes));
  }
  if (level == VerifyLevel::kQuick) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const std::string sha256, Sha256HexOfFile(path));
  if (sha256 != file.sha256) {
    return absl::DataLossError(
        absl::StrCat(path.string(), " has SHA-256 ", sha256, "; the manifest says ", file.sha256));
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckpointManifest> ReadManifest(const fs::path& directory) {
  const fs::path path = directory / kManifestFile;
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxManifestBytes));
  absl::StatusOr<CheckpointManifest> manifest = ParseManifest(text);
  if (manifest.ok()) return manifest;
  return absl::Status(manifest.status().code(),
                      absl::StrCat(path.string(), ": ", manifest.status().message()));
}

// The .safetensors files of a group: those the manifest lists, or where there is none, all.
absl::StatusOr<std::vector<fs::path>> FilesOf(const fs::path& directory, TensorGroup group) {
  std::vector<std::string> names;
  const absl::StatusOr<CheckpointManifest> manifest = ReadManifest(directory);
  if (manifest.ok()) {
    for (const auto& file : manifest->files) names.push_back(file.name);
  } else if (absl::IsNotFound(manifest.status())) {
    std::error_code error;
    fs::directory_iterator entry(directory, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    if (error) return ErrnoToStatus(error.value(), "cannot list " + directory.string());
    std::sort(names.begin(), names.end());
  } else {
    return manifest.status();
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    const bool optimizer = absl::StartsWith(name, "optimizer-");
    if (absl::EndsWith(name, ".safetensors") && optimizer == (group == TensorGroup::kOptimizer)) {
      files.push_back(directory / name);
    }
  }
  if (files.empty()) {
    return absl::NotFoundError(directory.string() + " holds no .safetensors files of the " +
                               (group == TensorGroup::kModel ? "model" : "optimizer"));
  }
  return files;
}

}  // namespace

absl::StatusOr<CheckpointManifest> VerifyCheckpoint(const fs::path& directory, VerifyLevel level) {
  WF_ASSIGN_OR_RETURN(CheckpointManifest manifest, ReadManifest(directory));
  for (const auto& file : manifest.files) {
    WF_RETURN_IF_ERROR(VerifyFile(directory / file.name, file, level));
  }
  return manifest;
}

absl::Status LoadTensors(const fs::path& path, std::span<const NamedTensor> destination,
                         TensorGroup group) {
  std::vector<fs::path> paths = {path};
  std::error_code error;
  if (fs::is_directory(path, error)) {
    WF_ASSIGN_OR_RETURN(paths, FilesOf(path, group));
  }
  std::map<std::string, const NamedTensor*> wanted;
  for (const NamedTensor& named : destination) {
    WF_CHECK_MSG(wanted.emplace(named.name, &named).second, named.name);
  }
  std::vector<std::string> extra;
  for (const fs::path& file_path : paths) {
    WF_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(file_path));
    for (const auto& [name, entry] : file.entries()) {
      const auto found = wanted.find(name);
      if (found == wanted.end()) {
        extra.push_back(name);
        continue;
      }
      WF_RETURN_IF_ERROR(file.Read(*found->second));
      wanted.erase(found);
    }
  }
  if (wanted.empty() && extra.empty()) return absl::OkStatus();
  std::vector<std::string> missing;
  for (const auto& [name, named] : wanted) missing.push_back(name);
  return absl::InvalidArgumentError(
      absl::StrCat(path.string(), missing.empty() ? "" : ": missing tensors " + List(missing),
                   extra.empty() ? "" : ": unexpected tensors " + List(extra),
                   "; was it saved with another model configuration?"));
}

}  // namespace wavefield
