#pragma once

// TrainerEvent and InferenceOutput messages in protobuf's JSON form (proto/wavefield/v1): the
// trainer does not link protobuf, which cannot share a process with SentencePiece.

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "absl/time/time.h"
#include "core/model/field_health.h"
#include "core/optim/optimizer.h"
#include "worker/trainer/evaluation.h"

namespace wavefield {

// Seconds spent in each phase of a step.
struct PhaseSeconds {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double communicate = 0;
  double optimize = 0;
  double checkpoint = 0;
};

struct StepReport {
  int64_t step = 0;
  int attempt = 0;
  double loss = 0;
  double grad_norm = 0;
  double learning_rate = 0;
  double accuracy = 0;  // share of the positions whose most likely token was the target
  int64_t tokens = 0;
  int64_t total_tokens = 0;
  double step_seconds = 0;
  double trained_seconds = 0;
  double matmul_rate_ratio = 0;
  uint64_t batch_digest = 0;
  PhaseSeconds phases;           // mean over the ranks
  double rank_skew_seconds = 0;  // slowest rank minus fastest, of reading, forward and backward
  int slowest_rank = 0;
};

nlohmann::json StepJson(const StepReport& report, absl::Time now);
nlohmann::json EvaluationJson(const EvaluationMetrics& metrics, int64_t step, int attempt,
                              absl::Time now);
// `updates`: of the last step, one for each layer, or none if they are not known.
nlohmann::json FieldHealthJson(std::span<const LayerHealth> layers,
                               std::span<const LayerUpdate> updates, int64_t step, int attempt,
                               absl::Time now);

}  // namespace wavefield
