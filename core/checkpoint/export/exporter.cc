#include "core/checkpoint/export/exporter.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/export/pytorch_module.h"
#include "core/checkpoint/export/stored_tensors.h"
#include "core/checkpoint/reader.h"
#include "core/checkpoint/storage.h"
#include "core/checkpoint/writer.h"
#include "core/model/architecture.h"
#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr char kAveragePrefix[] = "ema.";
constexpr uint64_t kMaxTokenizerBytes = uint64_t{64} << 20;

// The tensor files of the model or, where the moving averages are, of the optimizer.
std::vector<fs::path> TensorFiles(const fs::path& checkpoint, const CheckpointManifest& manifest,
                                  ExportedWeights weights) {
  std::vector<fs::path> files;
  const bool optimizer = weights == ExportedWeights::kMovingAverage;
  for (const CheckpointManifest::File& file : manifest.files) {
    if (absl::EndsWith(file.name, ".safetensors") &&
        absl::StartsWith(file.name, "optimizer-") == optimizer) {
      files.push_back(checkpoint / file.name);
    }
  }
  return files;
}

// Writes files below StagedFolder::kContents and counts their bytes.
class FolderWriter {
 public:
  explicit FolderWriter(const StagedFolder& folder) : storage_(folder.working()) {}

  absl::Status Write(const std::string& name, std::string_view contents) {
    WF_ASSIGN_OR_RETURN(const auto writer, storage_.Create(PathOf(name)));
    WF_RETURN_IF_ERROR(writer->Append(contents));
    return Count(writer->Finish());
  }
  absl::Status WriteTensors(const std::string& name, std::span<const NamedTensor> tensors,
                            const std::map<std::string, std::string>& metadata) {
    return Count(WriteSafetensors(storage_, PathOf(name), tensors, metadata));
  }
  uint64_t bytes() const { return bytes_; }

 private:
  static std::string PathOf(const std::string& name) {
    return JoinStoragePath(StagedFolder::kContents, name);
  }
  absl::Status Count(const absl::StatusOr<WrittenFile>& written) {
    if (written.ok()) bytes_ += written->bytes;
    return written.status();
  }

  DirectoryStorage storage_;
  uint64_t bytes_ = 0;
};

}  // namespace

absl::StatusOr<ExportedModel> ExportCheckpoint(const fs::path& checkpoint, ExportedWeights weights,
                                               StagedFolder& output) {
  ExportedModel exported;
  WF_ASSIGN_OR_RETURN(exported.manifest, VerifyCheckpoint(checkpoint, VerifyLevel::kFull));
  WF_ASSIGN_OR_RETURN(const ModelConfig model, ModelConfigFromJson(exported.manifest.model_config));
  WF_ASSIGN_OR_RETURN(const TokenizerDescription tokenizer, TokenizerDescription::Load(checkpoint));
  WF_ASSIGN_OR_RETURN(const std::string config,
                      FormatExportConfig(exported.manifest, tokenizer, weights));
  WF_ASSIGN_OR_RETURN(const StoredTensors stored,
                      StoredTensors::Open(TensorFiles(checkpoint, exported.manifest, weights)));
  const std::string prefix = weights == ExportedWeights::kMovingAverage ? kAveragePrefix : "";
  if (!stored.HasPrefix(prefix)) {
    return absl::FailedPreconditionError(
        "the checkpoint holds no moving average of the weights: its job was trained with "
        "training.ema_decay 0, or it was imported; leave --ema out");
  }
  auto tensors = stored.Select(DescribeParameters(model), prefix);
  if (!tensors.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint.string(), ": ", tensors.status().message()));
  }
  for (const NamedTensor& named : *tensors) exported.parameters += named.tensor.elements();

  FolderWriter writer(output);
  WF_RETURN_IF_ERROR(
      writer.WriteTensors(kExportWeightsFile, *tensors, ModelFileMetadata(ToJson(model))));
  for (const char* name : {kTokenizerFile, kTokenizerModelFile}) {
    if (name == kTokenizerModelFile && !tokenizer.has_model()) continue;
    WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(checkpoint / name, kMaxTokenizerBytes));
    WF_RETURN_IF_ERROR(writer.Write(name, text));
  }
  WF_RETURN_IF_ERROR(writer.Write(kPyTorchModuleFile, PyTorchModule()));
  WF_RETURN_IF_ERROR(writer.Write(kExportConfigFile, config));
  exported.bytes = writer.bytes();
  WF_RETURN_IF_ERROR(output.Publish());
  return exported;
}

}  // namespace wavefield
