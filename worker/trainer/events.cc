#include "worker/trainer/events.h"

#include <cmath>

#include "core/base/json_numbers.h"

namespace wavefield {
namespace {

std::string Timestamp(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

}  // namespace

nlohmann::json StepJson(const StepReport& r, absl::Time now) {
  return {{"step", r.step},
          {"attempt", r.attempt},
          {"time", Timestamp(now)},
          {"loss", NumberToJson(r.loss)},
          {"perplexity", NumberToJson(std::exp(r.loss))},
          {"grad_norm", NumberToJson(r.grad_norm)},
          {"learning_rate", r.learning_rate},
          {"tokens", r.tokens},
          {"total_tokens", r.total_tokens},
          {"tokens_per_second", static_cast<double>(r.tokens) / r.step_seconds},
          {"step_seconds", r.step_seconds},
          {"phase_seconds",
           {{"data", r.phases.data},
            {"forward", r.phases.forward},
            {"backward", r.phases.backward},
            {"communicate", r.phases.communicate},
            {"optimize", r.phases.optimize},
            {"checkpoint", r.phases.checkpoint}}},
          {"matmul_rate_ratio", r.matmul_rate_ratio},
          {"trained_seconds", r.trained_seconds}};
}

nlohmann::json EvaluationJson(const EvaluationMetrics& m, int64_t step, int attempt,
                              absl::Time now) {
  return {{"step", step},
          {"attempt", attempt},
          {"time", Timestamp(now)},
          {"loss", NumberToJson(m.loss)},
          {"perplexity", NumberToJson(m.perplexity)},
          {"bits_per_byte", NumberToJson(m.bits_per_byte)},
          {"accuracy", m.accuracy},
          {"tokens", m.tokens},
          {"text_bytes", m.text_bytes},
          {"seconds", m.seconds}};
}

}  // namespace wavefield
