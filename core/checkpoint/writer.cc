#include "core/checkpoint/writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/check.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

using nlohmann::json;

constexpr int kStepDigits = 12;
constexpr int kEpochDigits = 6;
constexpr uint64_t kMaxSidecarBytes = 16 << 20;
constexpr uint64_t kMaxExtraFileBytes = 256 << 20;

std::string ShardName(const char* kind, int rank, int world_size) {
  return absl::StrFormat("%s-%05d-of-%05d.safetensors", kind, rank + 1, world_size);
}

std::string SidecarName(int rank) { return absl::StrFormat("rank-%05d.json", rank); }

absl::Status CheckNotComplete(Storage& storage, const std::string& directory) {
  const auto size = storage.FileSize(JoinStoragePath(directory, kManifestFile));
  if (size.ok()) {
    return absl::AlreadyExistsError(directory + " holds a complete checkpoint already");
  }
  return absl::IsNotFound(size.status()) ? absl::OkStatus() : size.status();
}

// Writes the tensors of `all` that are this rank's, and adds what it wrote to the sidecar.
absl::Status WriteShard(Storage& storage, const std::string& directory, const std::string& name,
                        std::span<const NamedTensor> all, int rank, int world_size,
                        const std::map<std::string, std::string>& metadata,
                        const std::stop_token& cancel, json& sidecar) {
  const std::vector<int> owners = AssignTensorsToRanks(all, world_size);
  std::vector<NamedTensor> mine;
  json names = json::array();
  for (size_t i = 0; i < all.size(); ++i) {
    if (owners[i] != rank) continue;
    mine.push_back(all[i]);
    names.push_back({{"name", all[i].name}, {"bytes", all[i].tensor.bytes()}});
  }
  WF_ASSIGN_OR_RETURN(
      const WrittenFile written,
      WriteSafetensors(storage, JoinStoragePath(directory, name), mine, metadata, cancel));
  sidecar["files"].push_back({{"name", name},
                              {"bytes", written.bytes},
                              {"sha256", written.sha256},
                              {"tensors", std::move(names)}});
  return absl::OkStatus();
}

// What the ranks wrote, as the commit needs it.
struct Shards {
  std::vector<CheckpointManifest::File> files;
  std::map<std::string, std::string> weight_map;  // of the model's tensors
  uint64_t total_size = 0;                        // of the model's tensors
  std::set<std::string> optimizer_tensors;
};

absl::Status AddSidecar(Storage& storage, const std::string& directory, int rank, int world_size,
                        Shards& shards) {
  const std::string path = JoinStoragePath(directory, SidecarName(rank));
  WF_ASSIGN_OR_RETURN(const std::string text, storage.Read(path, kMaxSidecarBytes));
  const std::string model = ShardName("model", rank, world_size);
  const std::string optimizer = ShardName("optimizer", rank, world_size);
  std::set<std::string> expected = {model, optimizer};
  try {
    const json sidecar = json::parse(text);
    for (const json& entry : sidecar.at("files")) {
      CheckpointManifest::File file{entry.at("name"), entry.at("bytes"), entry.at("sha256")};
      if (expected.erase(file.name) == 0) {
        return absl::DataLossError(path + " names '" + file.name + "', which is not this rank's");
      }
      WF_ASSIGN_OR_RETURN(const uint64_t size,
                          storage.FileSize(JoinStoragePath(directory, file.name)));
      if (size != file.bytes) {
        return absl::DataLossError(absl::StrCat(directory, "/", file.name, " has ", size,
                                                " bytes; its writer wrote ", file.bytes));
      }
      for (const json& tensor : entry.at("tensors")) {
        const std::string name = tensor.at("name");
        const bool fresh = file.name == model ? shards.weight_map.emplace(name, file.name).second
                                              : shards.optimizer_tensors.insert(name).second;
        if (!fresh) return absl::DataLossError("two ranks wrote tensor '" + name + "'");
        if (file.name == model) shards.total_size += tensor.at("bytes").get<uint64_t>();
      }
      shards.files.push_back(std::move(file));
    }
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat(path, " is not a sidecar: ", error.what()));
  }
  if (!expected.empty()) {
    return absl::DataLossError(absl::StrCat(path, " does not name ", *expected.begin()));
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckpointManifest::File> Write(Storage& storage, const std::string& directory,
                                               const std::string& name, std::string_view contents) {
  WF_ASSIGN_OR_RETURN(const std::unique_ptr<StorageWriter> writer,
                      storage.Create(JoinStoragePath(directory, name)));
  WF_RETURN_IF_ERROR(writer->Append(contents));
  WF_ASSIGN_OR_RETURN(WrittenFile written, writer->Finish());
  return CheckpointManifest::File{name, written.bytes, std::move(written.sha256)};
}

}  // namespace

std::string CheckpointDirectoryName(const CheckpointId& id) {
  return absl::StrFormat("%0*d-%0*d", kStepDigits, id.step, kEpochDigits, id.epoch);
}

std::optional<CheckpointId> ParseCheckpointDirectoryName(const std::string& name) {
  const size_t dash = name.find('-');
  if (dash == std::string::npos ||
      name.find_first_not_of("0123456789", dash + 1) != std::string::npos) {
    return std::nullopt;
  }
  CheckpointId id;
  if (!absl::SimpleAtoi(name.substr(0, dash), &id.step) ||
      !absl::SimpleAtoi(name.substr(dash + 1), &id.epoch) || CheckpointDirectoryName(id) != name) {
    return std::nullopt;
  }
  return id;
}

std::vector<int> AssignTensorsToRanks(std::span<const NamedTensor> tensors, int world_size) {
  std::vector<size_t> order(tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const size_t bytes_a = tensors[a].tensor.bytes(), bytes_b = tensors[b].tensor.bytes();
    return bytes_a != bytes_b ? bytes_a > bytes_b : tensors[a].name < tensors[b].name;
  });
  std::vector<int> owners(tensors.size());
  std::vector<uint64_t> load(static_cast<size_t>(world_size));
  for (const size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += tensors[i].tensor.bytes();
    owners[i] = static_cast<int>(least - load.begin());
  }
  return owners;
}

absl::Status CheckRoom(Storage& storage, uint64_t bytes) {
  WF_ASSIGN_OR_RETURN(const uint64_t free, storage.FreeBytes());
  const uint64_t needed = bytes + bytes / 20;
  if (needed <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the storage has no space for it: it needs ", needed, " bytes (5 % to spare), ",
                   free, " are free; make room, or keep fewer checkpoints"));
}

std::map<std::string, std::string> ModelFileMetadata(const json& model_config) {
  return {{"format", "wavefield"}, {"config", model_config.dump()}};
}

absl::Status WriteCheckpointShard(Storage& storage, const std::string& directory, int rank,
                                  int world_size, std::span<const NamedTensor> model,
                                  std::span<const NamedTensor> optimizer,
                                  const std::map<std::string, std::string>& model_metadata,
                                  const std::stop_token& cancel) {
  WF_CHECK(0 <= rank && rank < world_size && world_size <= kMaxWorldSize);
  WF_RETURN_IF_ERROR(CheckNotComplete(storage, directory));
  const std::string sidecar_path = JoinStoragePath(directory, SidecarName(rank));
  WF_RETURN_IF_ERROR(storage.Delete(sidecar_path));  // of a try before this one
  json sidecar = {{"rank", rank}, {"world_size", world_size}, {"files", json::array()}};
  WF_RETURN_IF_ERROR(WriteShard(storage, directory, ShardName("model", rank, world_size), model,
                                rank, world_size, model_metadata, cancel, sidecar));
  WF_RETURN_IF_ERROR(WriteShard(storage, directory, ShardName("optimizer", rank, world_size),
                                optimizer, rank, world_size, {}, cancel, sidecar));
  return storage.WriteFileAtomically(sidecar_path, sidecar.dump());
}

absl::StatusOr<CheckpointManifest> CommitCheckpoint(Storage& storage, const std::string& directory,
                                                    CheckpointManifest manifest,
                                                    std::span<const ExtraFile> extra_files) {
  WF_CHECK(1 <= manifest.world_size && manifest.world_size <= kMaxWorldSize);
  WF_RETURN_IF_ERROR(CheckNotComplete(storage, directory));
  Shards shards;
  for (int rank = 0; rank < manifest.world_size; ++rank) {
    WF_RETURN_IF_ERROR(AddSidecar(storage, directory, rank, manifest.world_size, shards));
  }
  manifest.files = std::move(shards.files);
  const json index = {{"metadata", {{"total_size", shards.total_size}}},
                      {"weight_map", shards.weight_map}};
  WF_ASSIGN_OR_RETURN(
      CheckpointManifest::File index_file,
      Write(storage, directory, "model.safetensors.index.json", index.dump(2) + "\n"));
  manifest.files.push_back(std::move(index_file));
  for (const ExtraFile& extra : extra_files) {
    WF_ASSIGN_OR_RETURN(const std::string contents, ReadFile(extra.source, kMaxExtraFileBytes));
    WF_ASSIGN_OR_RETURN(CheckpointManifest::File file,
                        Write(storage, directory, extra.name, contents));
    manifest.files.push_back(std::move(file));
  }
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const std::string text = FormatManifest(manifest);
  WF_RETURN_IF_ERROR(ParseManifest(text).status());
  const std::string manifest_path = JoinStoragePath(directory, kManifestFile);
  if (absl::Status status = storage.WriteFileAtomically(manifest_path, text); !status.ok()) {
    (void)storage.Delete(manifest_path);  // it may have been renamed, but not made durable
    return status;
  }
  return manifest;
}

absl::StatusOr<std::vector<std::string>> RemoveIncompleteCheckpoints(Storage& storage,
                                                                     const std::string& checkpoints,
                                                                     uint64_t epoch) {
  std::vector<std::string> removed;
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, storage.List(checkpoints));
  for (const std::string& name : names) {
    const std::optional<CheckpointId> id = ParseCheckpointDirectoryName(name);
    if (!id || id->epoch >= epoch) continue;
    const std::string directory = JoinStoragePath(checkpoints, name);
    const absl::Status status = CheckNotComplete(storage, directory);
    if (absl::IsAlreadyExists(status)) continue;
    WF_RETURN_IF_ERROR(status);
    WF_RETURN_IF_ERROR(storage.Delete(directory));
    removed.push_back(name);
  }
  return removed;
}

}  // namespace wavefield
