#include "worker/trainer/checkpoint_model.h"

#include <fmt/format.h>

#include "core/base/checksum.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/reader.h"
#include "core/model/config/training_config.h"

namespace wavefield {

absl::StatusOr<CheckpointModel> LoadCheckpointModel(const std::filesystem::path& directory,
                                                    int threads) {
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                      VerifyCheckpoint(directory, VerifyLevel::kFull));
  WF_ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(manifest.model_config));
  WF_ASSIGN_OR_RETURN(TrainingConfig training, TrainingConfigFromSpec(manifest.training_spec));
  for (const auto& violations : {Validate(training, 1), ValidateTogether(training, config)}) {
    if (violations.empty()) continue;
    return absl::DataLossError(fmt::format("the job of the checkpoint {}: {} {}",
                                           directory.string(), violations[0].field,
                                           violations[0].description));
  }
  training.precision = "fp32";  // on the CPU, whatever it was trained with
  CheckpointModel loaded;
  loaded.step = static_cast<int64_t>(manifest.step);
  loaded.sequence_length = training.sequence_length;
  WF_ASSIGN_OR_RETURN(loaded.tokenizer, TokenizerDescription::Load(directory));
  loaded.backend = MakeCpuBackend(threads);
  loaded.model = std::make_unique<Model>(*loaded.backend, config, ExecutionOf(training));
  std::vector<NamedTensor> tensors;
  for (const ParameterInfo& info : loaded.model->layout().parameters()) {
    tensors.push_back({info.name, loaded.model->layout().View(loaded.model->parameters(), info)});
  }
  WF_RETURN_IF_ERROR(LoadTensors(directory, tensors, TensorGroup::kModel));
  return loaded;
}

absl::StatusOr<Dataset> OpenDatasetOf(const CheckpointModel& loaded,
                                      const std::filesystem::path& directory) {
  WF_ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(directory, VerifyMode::kFull));
  const int64_t known = loaded.model->config().vocab_size;
  if (dataset.vocab_size() > known) {
    return absl::FailedPreconditionError(fmt::format(
        "{} has {} token ids, the model knows {}; prepare the dataset with the model's tokenizer",
        directory.string(), dataset.vocab_size(), known));
  }
  if (dataset.manifest().tokenizer.sha256 != Sha256Hex(loaded.tokenizer.ToJson())) {
    return absl::FailedPreconditionError(
        fmt::format("{} was made with another tokenizer than the checkpoint", directory.string()));
  }
  return dataset;
}

}  // namespace wavefield
