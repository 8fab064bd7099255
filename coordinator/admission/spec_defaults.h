#pragma once

#include "core/model/config/model_config.h"
#include "core/model/config/training_config.h"
#include "wavefield/v1/spec.pb.h"

namespace wavefield::coordinator {

// The training part of a spec, defaults filled in. REQUIRES world_size ≥ 1.
TrainingConfig TrainingConfigOf(const wavefield::v1::JobSpec& spec, int64_t world_size);
// Writes every field of `config` into the spec.
void SetTraining(const TrainingConfig& config, wavefield::v1::JobSpec& spec);

// `base` with the fields that `model` gives.
ModelConfig ModelConfigOf(const wavefield::v1::ModelSpec& model, const ModelConfig& base);
void SetModel(const ModelConfig& config, wavefield::v1::ModelSpec& model);

}  // namespace wavefield::coordinator
