#include "worker/trainer/checkpoint_model.h"

#include <fmt/format.h>

#include "core/base/status_macros.h"
#include "core/checkpoint/reader.h"
#include "core/model/config/training_config.h"

namespace wavefield {

absl::StatusOr<CheckpointModel> LoadCheckpointModel(const std::filesystem::path& directory,
                                                    int threads) {
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                      VerifyCheckpoint(directory, VerifyLevel::kFull));
  WF_ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(manifest.model_config));
  WF_ASSIGN_OR_RETURN(const TrainingConfig training,
                      TrainingConfigFromSpec(manifest.training_spec));
  CheckpointModel loaded;
  loaded.step = static_cast<int64_t>(manifest.step);
  loaded.sequence_length = training.sequence_length;
  WF_ASSIGN_OR_RETURN(loaded.tokenizer, TokenizerDescription::Load(directory));
  loaded.backend = MakeCpuBackend(threads);
  loaded.model = std::make_unique<Model>(*loaded.backend, config);
  std::vector<NamedTensor> tensors;
  for (const ParameterInfo& info : loaded.model->layout().parameters()) {
    tensors.push_back({info.name, loaded.model->layout().View(loaded.model->parameters(), info)});
  }
  WF_RETURN_IF_ERROR(LoadTensors(directory, tensors, TensorGroup::kModel));
  return loaded;
}

}  // namespace wavefield
