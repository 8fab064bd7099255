#include "core/checkpoint/export/importer.h"

#include <fmt/format.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/export/export_config.h"
#include "core/checkpoint/export/stored_tensors.h"
#include "core/checkpoint/reader.h"
#include "core/checkpoint/storage.h"
#include "core/checkpoint/writer.h"
#include "core/model/architecture.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

absl::Status Named(const fs::path& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path.string(), ": ", status.message()));
}

absl::StatusOr<CheckpointManifest> ReadConfig(const fs::path& folder) {
  const fs::path path = folder / kExportConfigFile;
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxExportConfigBytes));
  auto manifest = ParseExportConfig(text);
  if (!manifest.ok()) return Named(path, manifest.status());
  return manifest;
}

// The tokenizer's files, once they were found sound and to fit the model.
absl::StatusOr<std::vector<ExtraFile>> TokenizerFiles(const fs::path& folder,
                                                      const ModelConfig& model) {
  WF_ASSIGN_OR_RETURN(const TokenizerDescription tokenizer, TokenizerDescription::Load(folder));
  if (tokenizer.vocab_size > model.vocab_size) {
    return absl::InvalidArgumentError(fmt::format(
        "{} has {} ids, but the model's vocab_size in {} is {}", (folder / kTokenizerFile).string(),
        tokenizer.vocab_size, kExportConfigFile, model.vocab_size));
  }
  std::vector<ExtraFile> files = {{kTokenizerFile, folder / kTokenizerFile}};
  if (!tokenizer.has_model()) return files;
  const fs::path path = folder / kTokenizerModelFile;
  WF_ASSIGN_OR_RETURN(const std::string sha256, Sha256HexOfFile(path));
  if (sha256 != tokenizer.model_sha256) {
    return absl::DataLossError(
        fmt::format("{} does not match its SHA-256 in {}: it changed or was "
                    "replaced",
                    path.string(), kTokenizerFile));
  }
  files.push_back({kTokenizerModelFile, path});
  return files;
}

}  // namespace

absl::StatusOr<CheckpointManifest> ImportCheckpoint(const fs::path& folder, StagedFolder& output) {
  WF_ASSIGN_OR_RETURN(CheckpointManifest manifest, ReadConfig(folder));
  WF_ASSIGN_OR_RETURN(const ModelConfig model, ModelConfigFromJson(manifest.model_config));
  WF_ASSIGN_OR_RETURN(const auto tokenizer_files, TokenizerFiles(folder, model));
  WF_ASSIGN_OR_RETURN(manifest.tokenizer_hash, Sha256HexOfFile(folder / kTokenizerFile));
  const fs::path weights = folder / kExportWeightsFile;
  WF_ASSIGN_OR_RETURN(const StoredTensors stored, StoredTensors::Open({{weights}}));
  const auto tensors = stored.Select(DescribeParameters(model), "");
  if (!tensors.ok()) return Named(weights, tensors.status());

  DirectoryStorage storage(output.working());
  WF_RETURN_IF_ERROR(WriteCheckpointShard(storage, StagedFolder::kContents, /*rank=*/0,
                                          /*world_size=*/1, *tensors, /*optimizer=*/{},
                                          ModelFileMetadata(ToJson(model))));
  WF_ASSIGN_OR_RETURN(
      manifest, CommitCheckpoint(storage, StagedFolder::kContents, manifest, tokenizer_files));
  WF_RETURN_IF_ERROR(VerifyCheckpoint(output.contents(), VerifyLevel::kFull).status());
  WF_RETURN_IF_ERROR(output.Publish());
  return manifest;
}

}  // namespace wavefield
