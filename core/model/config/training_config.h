#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/config/execution.h"
#include "core/model/config/field_violation.h"
#include "core/model/config/model_config.h"

namespace wavefield {

// How a model is trained: the JobSpec messages `training`, `checkpoint` and `evaluation` with every
// default filled in (proto/wavefield/v1/spec.proto says what the fields mean).
struct TrainingConfig {
  int64_t sequence_length = 512;
  int64_t batch_size = 16;
  int64_t micro_batch_size = 0;  // 0: DefaultMicroBatchSize()
  int64_t max_steps = 0;         // 0: bounded by time alone
  double max_minutes = 0;        // 0: bounded by steps alone
  uint64_t seed = 1;

  std::string precision = "fp32";    // "bf16": activations; all else stays fp32
  std::string propagation = "auto";  // "recurrence" | "chunked" | "fft" | "direct"
  std::string recompute = "none";    // "none" | "mixer" | "block"
  int64_t sequence_chunk = 0;        // 0: the whole window
  double dropout = 0;
  double label_smoothing = 0;
  double z_loss = 0;
  double ema_decay = 0;  // 0: no moving average of the weights

  std::string schedule = "";  // "constant" | "cosine" | "linear" | "wsd"; "": by max_steps
  double learning_rate = 2e-3;
  int64_t warmup_steps = -1;  // −1: min(100, max_steps / 10), 100 without max_steps
  double final_ratio = 0.1;
  double decay_ratio = 0.2;  // of "wsd"

  std::string optimizer = "adamw";  // "adamw" | "muon"
  double muon_learning_rate = 0.02;
  double mixer_lr_multiplier = 1;
  double embedding_lr_multiplier = 1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip_grad_norm = 1.0;

  int64_t checkpoint_every_steps = 0;
  double checkpoint_every_minutes = 10;
  int64_t keep_last = 3;

  int64_t evaluate_every_steps = 0;
  int64_t evaluate_max_tokens = 65536;
};

// The largest divisor of batch_size that is at most 4 and at most batch_size / world_size (1 if
// none).
int64_t DefaultMicroBatchSize(int64_t batch_size, int64_t world_size);

// Replaces the "by default" markers above. REQUIRES world_size ≥ 1.
void FillDefaults(TrainingConfig& config, int64_t world_size);

// Everything that is wrong, named as in JobSpec ("training.schedule.learning_rate"); empty: valid.
std::vector<FieldViolation> Validate(const TrainingConfig& config, int64_t world_size);

// What this model cannot be trained with. REQUIRES: each of them is valid.
std::vector<FieldViolation> ValidateTogether(const TrainingConfig& config,
                                             const ModelConfig& model);

// What a device does not compute: violation of "training.precision" for bf16 elsewhere than on
// "cuda". REQUIRES: valid.
std::vector<FieldViolation> ValidateDevice(const TrainingConfig& config, const std::string& device);

// Whether checkpoints are written behind training, from copies, beside the one at the end.
bool WritesCheckpointsBehind(const TrainingConfig& config);

// As `propagation` names it.
std::string NameOf(Propagation way);

// How passes over the model are computed. REQUIRES: valid.
ExecutionOptions ExecutionOf(const TrainingConfig& config);

// From the JSON of a job's spec with every field filled in (64-bit integers may be strings); fields
// that specs of earlier versions do not have take their defaults. INVALID_ARGUMENT names a missing
// or ill-typed field.
absl::StatusOr<TrainingConfig> TrainingConfigFromSpec(const nlohmann::json& spec);

}  // namespace wavefield
